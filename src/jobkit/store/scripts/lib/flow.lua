-- Starting jobs from lanes, as the limits in force admit.
-- Bound: a claim visits `want` plus 64 lanes, wakes 16 limits and 4 lanes of each.
-- Invariant: a lane with jobs is either among the runnable lanes of its fair key, which then has its turn in the ring, or
-- waits for one limit; and a limit for which lanes wait has a time in `wake`, or is in BLOCKING.
local UNBLOCK_EACH = 4

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
    local limit, rule = limit_of(queue, pieces[i]), rule_of(pieces[i], rules)
    if rule and rule[2] then
      local opens = window_opens(limit, rule[1], rule[2])
      local held = tonumber(call('GET', until_key(limit)) or 0)
      if held > NOW then opens = math.max(opens or 0, held) end
      if opens then return limit, opens end
    elseif rule and room(limit, rule) <= 0 and not (rule == ONE and drop_lock(limit)) then
      return limit
    end
  end
end

local function take_limits(queue, lane, pieces, rules, owner)
  local holds = false
  for i = 2, #pieces do
    local limit, rule = limit_of(queue, pieces[i]), rule_of(pieces[i], rules)
    if rule and rule[2] then
      note_claims(limit, rule[1], rule[2], 1)
    elseif rule then
      call('ZADD', run_key(limit), NOW_TEXT, queue .. US .. owner)
      holds = true
    end
  end
  if holds then call('HSET', places_key(queue), owner, lane) end
end

-- A lane that was brought back for a limit and has not used its room, or not all of it, leaves it to the next.
local function pass_on(queue, pieces, rules, started)
  for i = 2, #pieces do
    local rule = rule_of(pieces[i], rules)
    if not (rule and rule[2]) and not (started and rule == ONE) then
      local limit = limit_of(queue, pieces[i])
      if call('EXISTS', blocked_key(limit)) == 1 and room(limit, rule) > 0 then unblock(limit, 1) end
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
  local turn = turn_key(queue)
  local function serve(at)
    if tonumber(at) > tonumber(call('GET', turn) or 0) then call('SET', turn, at) end
  end
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
      serve(first[2])  -- or it would be back before its turn
    else
      local _, pieces = pieces_of(lane)
      local limit, opens = barred(queue, pieces, rules)
      if limit then
        block_lane(queue, fair, lane, limit, opens)
        pass_on(queue, pieces, rules)
      else
        local id = call('ZPOPMIN', lane_key(queue, lane))[1]
        local head = call('ZRANGE', lane_key(queue, lane), 0, 0, 'WITHSCORES')
        if #head == 0 then
          call('ZREM', lanes_key(queue, fair), lane)
        else
          call('ZADD', lanes_key(queue, fair), head[2], lane)
        end
        local h = id and fields(id)
        -- A job that was deleted and written again may wait in another lane.
        if h and not h.err and h[1] == 'deferred' and h[9] and select(2, lane_of(h[9])) == lane
            and not (h[5] and call('ZSCORE', KEYS[base + Q.LEASE], member(id, h[5])))
            and not (hold_job and hold_job(id, h)) then
          call('ZREM', KEYS[base + Q.DEFERRED], id)
          take_limits(queue, lane, pieces, rules, member(id, start_job(id, h)))
          pass_on(queue, pieces, rules, true)
          got = got + 1
          if not alone then
            call('ZINCRBY', ring, 1 / ((rules.weights or {})[fair] or 1), fair)
            serve(first[2])
          end
        else
          if h and h.err then  -- no hash: the list's way brings it to the dead letters
            call('ZREM', KEYS[base + Q.DEFERRED], id)
            call('RPUSH', KEYS[base + Q.LIST], id)
            ring_name(queue)
          end
          if #head == 0 then pass_on(queue, pieces, rules) end
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

-- How many jobs the limits of the whole queue admit now, `want` at most.
local function admitted(queue, rules, want)
  if rules.held then return 0 end
  if rules.run then want = math.min(want, rules.run - call('ZCARD', P .. ':jk:lease:' .. queue)) end
  for i, rate in ipairs(rules.rate or {}) do
    if want <= 0 then return 0 end
    if rate then
      local n, per = rate[1], rate[2]
      want = math.min(want, n)
      -- The entry that makes room for the k-th new claim is the one at n - k: it has to be outside of the window.
      local times = call('LRANGE', window_key(queue .. '/rate/' .. i), n - want, n - 1)
      local free = want - #times
      for at = #times, 1, -1 do
        if tonumber(times[at]) + per > NOW then break end
        free = free + 1
      end
      want = free
    end
  end
  return math.max(want, 0)
end

local function note_started(queue, rules, count)
  if count == 0 then return end
  for i, rate in ipairs(rules.rate or {}) do
    if rate then note_claims(queue .. '/rate/' .. i, rate[1], rate[2], count) end
  end
end

-- Where attempts have ended and the caller takes no more of the queue: somebody else may.
local function ring_for_room(base)
  local queue = queue_name(base)
  local rules = rules_of(queue)
  if rules and rules.run and not closed(queue, rules) and call('EXISTS', KEYS[base + Q.LIST], ring_key(queue)) > 0 then
    ring(base)
  end
end
