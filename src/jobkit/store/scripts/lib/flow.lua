-- Starting jobs from lanes, as the limits in force admit.
-- Bound: a claim visits `want` plus 64 lanes, wakes 16 limits and 4 lanes of each.
-- Invariant: a lane with jobs is either among the runnable lanes of its fair key, which then has its turn in the ring, or
-- waits for one limit; and a limit for which lanes wait has a time in `wake`, or is in BLOCKING.
local UNBLOCK_EACH = 4
local NO_RULES = {keyed = {}}

local function rules_of(base)
  local text = call('GET', KEYS[base + Q.RULES])
  return text and cjson.decode(text)
end

-- ms at which a window admits `more` claims, nil where it does so now.
local function window_opens(limit, n, per, more)
  local oldest = call('LINDEX', window_key(limit), n - more)
  local opens = oldest and tonumber(oldest) + per
  return opens and opens > NOW and opens or nil
end

local function note_claims(limit, n, per, count)
  local times = {}
  for i = 1, count do times[i] = NOW_TEXT end
  each_slice(times, 'LPUSH', window_key(limit))
  call('LTRIM', window_key(limit), 0, n - 1)
  call('PEXPIRE', window_key(limit), per + 1000)
end

-- The limit that a lane has to wait for, and, for a window, until when (ms); nil where it may start a job.
local function barred(queue, pieces, rules)
  for i = 2, #pieces do
    local limit = limit_of(queue, pieces[i])
    local rule = rules.keyed[string.match(pieces[i], '^(.-)=')]
    if string.sub(pieces[i], 1, 6) == 'mutex=' then rule = {1} end
    if rule and rule[2] then
      local opens = window_opens(limit, rule[1], rule[2], 1)
      if opens then return limit, opens end
    elseif rule and call('ZCARD', run_key(limit)) >= rule[1] and drop_dead(limit) == 0 then
      return limit
    end
  end
end

local function take_limits(queue, pieces, rules, holder)
  begun[holder] = true
  for i = 2, #pieces do
    local limit = limit_of(queue, pieces[i])
    local rule = rules.keyed[string.match(pieces[i], '^(.-)=')]
    if string.sub(pieces[i], 1, 6) == 'mutex=' then
      call('ZADD', run_key(limit), NOW_TEXT, holder)
    elseif rule and rule[2] then
      note_claims(limit, rule[1], rule[2], 1)
    elseif rule then
      call('ZADD', run_key(limit), NOW_TEXT, holder)
    end
  end
end

local function block_lane(queue, fair, lane, limit, opens)
  local score = call('ZSCORE', lanes_key(queue, fair), lane)
  call('ZREM', lanes_key(queue, fair), lane)
  call('ZADD', blocked_key(limit), score, queue .. US .. lane)
  call('HSET', blocked_by_key(queue), lane, limit)
  if opens then call('ZADD', wake_key(queue), opens, limit) else call('SADD', BLOCKING, limit) end
end

-- A limit keeps its place in `wake` as long as lanes wait for it: the next permit may come before the next lane does.
local function wake_lanes(queue)
  local due = call('ZRANGEBYSCORE', wake_key(queue), '-inf', NOW_TEXT, 'LIMIT', 0, 16)
  for _, limit in ipairs(due) do
    unblock(limit, UNBLOCK_EACH)
    if call('EXISTS', blocked_key(limit)) == 1 then
      call('ZADD', wake_key(queue), NOW + 1, limit)
    else
      call('ZREM', wake_key(queue), limit)
    end
  end
end

-- Starts up to `want` jobs, fair key by fair key; `start_job(id, h)` begins one and answers its token. `hold_job(id, h)`,
-- where there is one, says whether a pause holds the job instead.
local function from_lanes(base, want, rules, start_job, hold_job)
  local queue = queue_name(base)
  local ring = ring_key(queue)
  if call('EXISTS', ring, wake_key(queue)) == 0 then return 0 end
  wake_lanes(queue)
  local got, visits = 0, want + 64
  -- One fair key alone has every turn: they need not be counted until another joins.
  local alone = call('ZCARD', ring) == 1
  while got < want and visits > 0 do
    visits = visits - 1
    local first = call('ZRANGE', ring, 0, 0, 'WITHSCORES')
    if #first == 0 then break end
    local fair = first[1]
    local lane = call('ZRANGE', lanes_key(queue, fair), 0, 0)[1]
    if not lane then
      call('ZREM', ring, fair)
      joined[queue .. US .. fair] = nil
    else
      local _, pieces = pieces_of(lane)
      local limit, opens = barred(queue, pieces, rules)
      if limit then
        block_lane(queue, fair, lane, limit, opens)
      else
        local id = call('ZPOPMIN', lane_key(queue, lane))[1]
        local head = call('ZRANGE', lane_key(queue, lane), 0, 0, 'WITHSCORES')
        if #head == 0 then
          call('ZREM', lanes_key(queue, fair), lane)
        else
          call('ZADD', lanes_key(queue, fair), head[2], lane)
        end
        local h = id and fields(id)
        if h and not h.err and h[1] == 'deferred'
            and not (h[5] and call('ZSCORE', KEYS[base + Q.LEASE], member(id, h[5])))
            and not (hold_job and hold_job(id, h)) then
          call('ZREM', KEYS[base + Q.DEFERRED], id)
          take_limits(queue, pieces, rules, queue .. US .. member(id, start_job(id, h)))
          got = got + 1
          if not alone then
            call('ZINCRBY', ring, 1 / ((rules.weights or {})[fair] or 1), fair)
            call('SET', turn_key(queue), first[2])
          end
        end
      end
    end
  end
  return got
end

-- ms until the next permit of a limit by time, or -1.
local function permit_in(queue)
  local first = call('ZRANGE', wake_key(queue), 0, 0, 'WITHSCORES')
  if #first == 0 then return -1 end
  return math.max(1, math.ceil(tonumber(first[2]) - NOW))
end

-- How many jobs the limits of the whole queue admit now, `want` at most, and the ms until they admit more (-1: not by
-- time).
local function admitted(base, queue, rules, want)
  local wait = -1
  if rules.run then want = math.min(want, rules.run - call('ZCARD', KEYS[base + Q.LEASE])) end
  for i, rate in ipairs(rules.rate or {}) do
    if want <= 0 then return 0, wait end
    local n, per = rate[1], rate[2]
    want = math.min(want, n)
    -- The entry that makes room for the k-th new claim is the one at n - k: it has to be outside of the window.
    local times = call('LRANGE', window_key(queue .. '/rate/' .. i), n - want, n - 1)
    local free = want - #times
    for at = #times, 1, -1 do
      local opens = tonumber(times[at]) + per
      if opens > NOW then
        wait = math.max(wait, opens - NOW)
        break
      end
      free = free + 1
    end
    want = free
  end
  return want, wait
end

local function note_started(queue, rules, count)
  for i, rate in ipairs(rules.rate or {}) do note_claims(queue .. '/rate/' .. i, rate[1], rate[2], count) end
end
