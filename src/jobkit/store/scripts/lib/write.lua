-- Writing new jobs. A record is eight values: id, data, timeout, extra, delay_ms, due_ms, flow, queue block. `flow` is ''
-- or JSON: what the job is subject to beyond its queue's order (store/records.py, NewJob).
-- Invariant: a job's hash is written in the same script as its entry in a list or registry.
local RECORD = 8
local pushed, written = {}, 0

-- Of the millisecond that it is. While the server's clock is behind the scripts' own, which then stands still, calls are
-- counted instead, so that they keep their order.
local tick
local function micros()
  if tonumber(TIME[1]) * 1000 + math.floor(tonumber(TIME[2]) / 1000) >= NOW then return tonumber(TIME[2]) % 1000 end
  local key = P .. ':jk:tick'
  tick = call('INCR', key)
  call('PEXPIRE', key, 86400000)
  return tick - written
end

-- Writes one job; the push itself waits for `flush_pushes`, so that a batch costs one RPUSH a queue.
-- RQ reads whole seconds only, so `timeout` is rounded up and jk_timeout keeps a fractional one as it was given.
-- Answers 1 where it was created and 0 where a job of that id exists: an enqueue may be repeated safely.
local function write_job(base, id, data, timeout, extra, delay, due, flow)
  local key = job_key(id)
  if call('EXISTS', key) == 1 then return 0 end
  delay, due = tonumber(delay), tonumber(due)
  local asked = flow ~= '' and cjson.decode(flow) or {}
  local exact = string.find(timeout, '[.e]') and timeout
  if exact then timeout = math.ceil(tonumber(exact)) end
  if delay > 0 then due = NOW + delay end
  if due > NOW then
    call('HSET', key, 'data', data, 'origin', queue_name(base), 'status', 'scheduled', 'timeout', timeout,
         'created_at', ISO, 'jk', extra)
    call('ZADD', KEYS[base + Q.SCHEDULED], due / 1000, id)
    pushed[base] = pushed[base] or {}
  else
    call('HSET', key, 'data', data, 'origin', queue_name(base), 'status', 'queued', 'timeout', timeout,
         'created_at', ISO, 'enqueued_at', ISO, 'jk', extra)
    pushed[base] = pushed[base] or {}
    if not asked.l then pushed[base][#pushed[base] + 1] = id end
  end
  if asked.l then
    written = written + 1
    -- Microseconds: calls follow one another by more than one for each job they write, so first come, first served.
    local since = (due > NOW and due or NOW) * 1000 + micros() + written - asked.b * 1000
    local lane = string.format('%.0f', since) .. US .. asked.l
    call('HSET', key, 'jk_lane', lane)
    if due <= NOW then into_lane(base, id, lane) end
  end
  if exact then call('HSET', key, 'jk_timeout', exact) end
  return 1
end

local function flush_pushes()
  local names = {}
  for base, ids in pairs(pushed) do
    local list, length = KEYS[base + Q.LIST], 0
    for i = 1, #ids, SLICE do length = call('RPUSH', list, unpack(ids, i, math.min(i + SLICE - 1, #ids))) end
    ring(base)  -- for a scheduled job too: whoever sleeps must learn of the earlier due time
    -- A list that was not empty is known as a queue since its first entry came.
    if length <= #ids then names[#names + 1] = list end
  end
  if #names > 0 then call('SADD', QUEUES, unpack(names)) end
  pushed = {}
end
