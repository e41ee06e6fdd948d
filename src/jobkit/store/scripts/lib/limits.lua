-- What a job may have to wait for besides its turn. A lane is the waiting line of jobs with the same fair key and the same
-- limits; its name is these, joined by US: fair key, then one piece a limit, `kind/field=value` or `mutex=name`.
-- Rules in force lie in the queue's key RULES (JSON: rate {{n, per ms}..}, run n, keyed {kind/field = {n, per ms}},
-- weights {fair key = weight}); a piece whose rule is not in force any more limits nothing. Keys:
--   jk:run:{limit}      zset, holder (queue US id:token) -> ms of its claim
--   jk:win:{limit}      list, ms of the newest claims, at most as many as the limit allows in its window
--                       a lock's (kit.lock) is US limit:token, of no queue
--   jk:lease:           zset, limit:token -> ms of the end of a lock's lease
--   jk:until:{limit}    ms until which nothing begins under a rate limit by key, whatever its window admits
--   jk:until:{q}        the same for a queue
--   jk:blocked:{limit}  zset, queue US lane -> score of its head: lanes that wait for the limit
--   jk:blocked_by:{q}   hash, lane -> the limit that it waits for
--   jk:blocking         set of the limits that lanes wait for: a sweep looks whether their holders still live
-- A mutex is one limit for all queues; others are of their queue.
local US = '\31'
local BLOCKING = P .. ':jk:blocking'
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

local function lane_key(queue, lane) return P .. ':jk:lane:' .. queue .. ':' .. lane end
local function lanes_key(queue, fair) return P .. ':jk:lanes:' .. queue .. ':' .. fair end
local function ring_key(queue) return P .. ':jk:ring:' .. queue end
local function turn_key(queue) return P .. ':jk:turn:' .. queue end
local function wake_key(queue) return P .. ':jk:wake:' .. queue end
local function blocked_key(limit) return P .. ':jk:blocked:' .. limit end
local function blocked_by_key(queue) return P .. ':jk:blocked_by:' .. queue end
local function run_key(limit) return P .. ':jk:run:' .. limit end
local function window_key(limit) return P .. ':jk:win:' .. limit end

local function until_key(limit) return P .. ':jk:until:' .. limit end

-- Lets nothing begin for so many ms under the rate limits by key of a job (`field` is its jk_lane) that are in force, or,
-- where there are none, in its queue. A longer hold stays.
local function hold(base, field, ms)
  local queue, limits, rules = queue_name(base), {}, call('GET', KEYS[base + Q.RULES])
  local keyed = rules and cjson.decode(rules).keyed or {}
  local _, pieces = pieces_of(field and string.match(field, US .. '(.*)$') or '')
  for i = 2, #pieces do
    local rule = keyed[string.match(pieces[i], '^(.-)=')]
    if rule and rule[2] then limits[#limits + 1] = limit_of(queue, pieces[i]) end
  end
  if #limits == 0 then limits[1] = queue end
  for _, limit in ipairs(limits) do
    if ms > 0 and tonumber(call('GET', until_key(limit)) or 0) < NOW + ms then
      call('SET', until_key(limit), string.format('%.0f', NOW + ms), 'PX', ms)
    end
  end
end

local function ring_name(queue)
  local bell = P .. ':jk:bell:' .. queue
  if call('EXISTS', bell) == 0 then call('RPUSH', bell, '1') end
end

-- A fair key that comes back joins at the turn that is being served: it gains nothing by having been away.
local function show_lane(queue, lane)
  local head = call('ZRANGE', lane_key(queue, lane), 0, 0, 'WITHSCORES')
  if #head == 0 then return end
  local fair = pieces_of(lane)
  call('ZADD', lanes_key(queue, fair), head[2], lane)
  call('ZADD', ring_key(queue), 'NX', call('GET', turn_key(queue)) or '0', fair)
end

-- Brings back up to `many` lanes that wait for a limit.
local function unblock(limit, many)
  local popped = call('ZPOPMIN', blocked_key(limit), many)
  for i = 1, #popped, 2 do
    local queue, lane = string.match(popped[i], '^(.-)' .. US .. '(.*)$')
    call('HDEL', blocked_by_key(queue), lane)
    show_lane(queue, lane)
    ring_name(queue)
  end
  return #popped / 2
end

-- Gives back what an attempt held. `holder` is queue US id:token.
local function free_limits(queue, field, holder)
  local _, lane = lane_of(field)
  local _, pieces = pieces_of(lane)
  for i = 2, #pieces do
    local limit = limit_of(queue, pieces[i])
    if call('ZREM', run_key(limit), holder) == 1 then unblock(limit, 1) end
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

-- Takes away holders that own nothing any more: their job was deleted while it ran, or they are a lock whose lease is
-- over. Looks at the oldest 16. Who began in this very call has no lease yet.
local begun = {}
local function drop_dead(limit)
  local gone = 0
  for _, holder in ipairs(call('ZRANGE', run_key(limit), 0, 15)) do
    local queue, owner = string.match(holder, '^(.-)' .. US .. '(.*)$')
    local lease = begun[holder] or call('ZSCORE', P .. ':jk:lease:' .. queue, owner)
    if lease and queue == '' and tonumber(lease) <= NOW then
      call('ZREM', LOCKS, owner)
      lease = nil
    end
    if not lease then
      gone = gone + call('ZREM', run_key(limit), holder)
    end
  end
  return gone
end
