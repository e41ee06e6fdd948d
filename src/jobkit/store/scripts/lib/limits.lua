-- What a job may have to wait for besides its turn. A lane is the waiting line of jobs with the same fair key and the same
-- limits; its name is these, joined by US: fair key, then one piece a limit, `kind/field=value` or `mutex=name`.
-- Keys:
--   jk:run:{limit}      zset, holder (queue US id:token) -> ms of its claim
--   jk:places:{q}         hash, id:token -> its lane: attempts that hold places of `run` keys; it goes with their lease
--   jk:win:{limit}      list, ms of the newest claims, at most as many as the limit allows in its window
--                       a lock's (kit.lock) is US limit:token, of no queue
--   jk:lease:           zset, limit:token -> ms of the end of a lock's lease
--   jk:until:{limit}    ms until which nothing begins under a rate limit by key, whatever its window admits
--   jk:until:{q}        the same for a queue
--   jk:blocked:{limit}  zset, queue US lane -> score of its head: lanes that wait for the limit
--   jk:blocked_by:{q}   hash, lane -> the limit that it waits for
--   jk:blocking         set of the `run` limits that lanes wait for: a sweep looks whether there is room
--   jk:recheck          hash, queues whose rules were changed -> how far a sweep has come with bringing their lanes back
-- A mutex is one limit for all queues; others are of their queue.
local US = '\31'
local BLOCKING, RECHECK = P .. ':jk:blocking', P .. ':jk:recheck'
local LOCKS = P .. ':jk:lease:'

local function limit_of(queue, piece)
  if string.sub(piece, 1, 6) == 'mutex=' then return piece end
  return queue .. '/' .. piece
end

local function pieces_of(lane)
  local found = {}
  for piece in string.gmatch(lane .. US, '(.-)' .. US) do found[#found + 1] = piece end
  return found[1], found
end

-- jk_lane holds the score that the job was given at its enqueue, and its lane.
local function lane_of(field)
  local score, lane = string.match(field, '^([%d.-]+)' .. US .. '(.*)$')
  return tonumber(score), lane
end

-- A queue's name may hold ':', and no '/'.
local function lane_key(queue, lane) return P .. ':jk:lane:' .. queue .. '/' .. lane end
local function lanes_key(queue, fair) return P .. ':jk:lanes:' .. queue .. '/' .. fair end
local function ring_key(queue) return P .. ':jk:ring:' .. queue end
local function turn_key(queue) return P .. ':jk:turn:' .. queue end
local function wake_key(queue) return P .. ':jk:wake:' .. queue end
local function blocked_key(limit) return P .. ':jk:blocked:' .. limit end
local function blocked_by_key(queue) return P .. ':jk:blocked_by:' .. queue end
local function places_key(queue) return P .. ':jk:places:' .. queue end
local function run_key(limit) return P .. ':jk:run:' .. limit end
local function window_key(limit) return P .. ':jk:win:' .. limit end

local function until_key(limit) return P .. ':jk:until:' .. limit end

local function ring_name(queue)
  local bell = P .. ':jk:bell:' .. queue
  if call('EXISTS', bell) == 0 then call('RPUSH', bell, '1') end
end

-- A fair key that comes back joins at the turn that is being served: it gains nothing by having been away. Those that join
-- at the same turn are served as they came.
local joined = {}  -- in this call
local function join_ring(queue, fair)
  local turn, known = turn_key(queue), queue .. US .. fair
  if joined[known] then return end
  joined[known] = true
  if call('ZADD', ring_key(queue), 'NX', call('GET', turn) or '0', fair) == 1 then
    call('INCRBYFLOAT', turn, '0.000001')
  end
end

-- Answers whether the lane has jobs at all.
local function show_lane(queue, lane)
  local head = call('ZRANGE', lane_key(queue, lane), 0, 0, 'WITHSCORES')
  if #head == 0 then return false end
  local fair = pieces_of(lane)
  call('ZADD', lanes_key(queue, fair), head[2], lane)
  join_ring(queue, fair)
  ring_name(queue)
  return true
end

-- Whether a queue begins nothing for now: it is paused whole, or a service asked for that. The pauses are read once.
local idle_queues
local function is_idle(queue)
  if call('EXISTS', until_key(queue)) == 1 then return true end
  if not idle_queues then
    idle_queues = {}
    local ok, list = pcall(cjson.decode, SEEN[4] or '[]')
    for _, pause in ipairs(ok and type(list) == 'table' and list or {}) do
      if pause.q and not pause.n and not pause.t and (not pause.u or pause.u > NOW) then idle_queues[pause.q] = true end
    end
  end
  return idle_queues[queue] or false
end

-- Brings back up to `many` lanes that wait for a limit. One that has lost its jobs takes nobody's place, and neither does
-- one of a queue that begins nothing: a mutex is for all queues.
local function unblock(limit, many)
  local shown, visits = 0, many + 16
  while shown < many and visits > 0 do
    visits = visits - 1
    local waiter = call('ZPOPMIN', blocked_key(limit))[1]
    if not waiter then break end
    local queue, lane = string.match(waiter, '^(.-)' .. US .. '(.*)$')
    call('HDEL', blocked_by_key(queue), lane)
    if show_lane(queue, lane) and not is_idle(queue) then shown = shown + 1 end
  end
  return shown
end

-- Gives back what an attempt held; `owner` is id:token. The job's own hash may be gone.
local function free_limits(queue, owner)
  local lane = call('HGET', places_key(queue), owner)
  if not lane then return end
  call('HDEL', places_key(queue), owner)
  local _, pieces = pieces_of(lane)
  for i = 2, #pieces do
    local limit = limit_of(queue, pieces[i])
    if call('ZREM', run_key(limit), queue .. US .. owner) == 1 then unblock(limit, 1) end
  end
end

-- Gives back a lock (limit:token); 0 where it holds nothing any more.
local function free_lock(owner)
  call('ZREM', LOCKS, owner)
  local limit = string.match(owner, '^(.*):')
  if call('ZREM', run_key(limit), US .. owner) == 0 then return 0 end
  unblock(limit, 1)
  return 1
end

-- Takes away a lock that holds a mutex past its lease; answers whether it did.
local function drop_lock(limit)
  local holder = call('ZRANGE', run_key(limit), 0, 0)[1]
  if not holder or string.sub(holder, 1, 1) ~= US then return false end
  local owner = string.sub(holder, 2)
  local lease = call('ZSCORE', LOCKS, owner)
  if lease and tonumber(lease) > NOW then return false end
  call('ZREM', LOCKS, owner)
  call('ZREM', run_key(limit), holder)
  return true
end

-- Takes away holders without a lease, which no script leaves: somebody has deleted keys by hand; and locks whose lease is
-- over. Looks at 16 of them.
local function drop_dead(limit)
  for _, holder in ipairs(call('ZRANDMEMBER', run_key(limit), 16)) do
    local queue, owner = string.match(holder, '^(.-)' .. US .. '(.*)$')
    local lease = call('ZSCORE', P .. ':jk:lease:' .. queue, owner)
    if queue == '' and lease and tonumber(lease) <= NOW then
      call('ZREM', LOCKS, owner)
      lease = nil
    end
    if not lease then
      call('ZREM', run_key(limit), holder)
      call('HDEL', places_key(queue), owner)
    end
  end
end
