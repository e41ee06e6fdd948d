-- Writing new jobs. A record is eight values: id, data, timeout, extra, delay_ms, due_ms, flow, queue block. `flow` is ''
-- or JSON: what the job is subject to beyond its queue's order (store/records.py, NewJob).
-- Invariant: a job's hash is written in the same script as its entry in a list or registry.
local RECORD = 8
local pushed, written = {}, 0

-- A job's place in its lane, in microseconds: calls follow one another by more than one for each job they write, so first
-- come, first served.
local function score_of(due, asked)
  written = written + 1
  local since = due > NOW and due * 1000 or NOW * 1000 + tonumber(TIME[2]) % 1000
  return string.format('%.0f', since + written - asked.b * 1000)
end

-- A job with a lane: straight into it, or, where it is due later, with its place noted.
local function write_laned(base, id, data, timeout, extra, due, asked)
  local score = score_of(due, asked)
  pushed[base] = pushed[base] or {}
  if due > NOW then
    call('HSET', job_key(id), 'data', data, 'origin', queue_name(base), 'status', 'scheduled', 'timeout', timeout,
         'created_at', ISO, 'jk', extra, 'jk_lane', score .. US .. asked.l)
    call('ZADD', KEYS[base + Q.SCHEDULED], due / 1000, id)
  else
    call('HSET', job_key(id), 'data', data, 'origin', queue_name(base), 'status', 'deferred', 'timeout', timeout,
         'created_at', ISO, 'enqueued_at', ISO, 'jk', extra, 'jk_lane', score .. US .. asked.l)
    into_lane(base, id, score, asked.l)
  end
end

-- Writes one job; the push itself waits for `flush_pushes`, so that a batch costs one RPUSH a queue.
-- RQ reads whole seconds only, so `timeout` is rounded up and jk_timeout keeps a fractional one as it was given.
-- Answers 1 where it was created and 0 where a job of that id exists: an enqueue may be repeated safely. Where another
-- stands for it (dedupe.lua), answers that one's id; with it, the due time that it had before this has moved it.
local function write_job(base, id, data, timeout, extra, delay, due, flow)
  local key = job_key(id)
  if call('EXISTS', key) == 1 then return 0 end
  delay, due = tonumber(delay), tonumber(due)
  local asked = flow ~= '' and cjson.decode(flow) or nil
  local exact = string.find(timeout, '[.e]') and timeout
  if exact then timeout = math.ceil(tonumber(exact)) end
  local d = asked and asked.d
  local name = d and P .. ':jk:dedupe:' .. queue_name(base) .. ':' .. d.k
  if d then
    local bound, was_due = bound_to(base, name, d)
    if was_due then  -- a debounced job that waits gets what came last, and waits anew
      local changed = job_key(bound)
      due = NOW + d.w
      call('HSET', changed, 'data', data, 'timeout', timeout, 'jk', extra)
      if exact then call('HSET', changed, 'jk_timeout', exact) else call('HDEL', changed, 'jk_timeout') end
      local score = asked.l and score_of(due, asked)
      if score then call('HSET', changed, 'jk_lane', score .. US .. asked.l) else call('HDEL', changed, 'jk_lane') end
      call('ZADD', KEYS[base + Q.SCHEDULED], due / 1000, bound)
      if due / 1000 < was_due then pushed[base] = pushed[base] or {} end  -- who sleeps must learn of the earlier time
      bind(name, bound, d, due)
    end
    if bound then return bound == id and 0 or bound, was_due end
    if d.m == 'debounce' then delay = d.w end
  end
  if delay > 0 then due = NOW + delay end
  if asked and asked.l then
    write_laned(base, id, data, timeout, extra, due, asked)
  elseif due > NOW then
    call('HSET', key, 'data', data, 'origin', queue_name(base), 'status', 'scheduled', 'timeout', timeout,
         'created_at', ISO, 'jk', extra)
    call('ZADD', KEYS[base + Q.SCHEDULED], due / 1000, id)
    pushed[base] = pushed[base] or {}
  else
    call('HSET', key, 'data', data, 'origin', queue_name(base), 'status', 'queued', 'timeout', timeout,
         'created_at', ISO, 'enqueued_at', ISO, 'jk', extra)
    pushed[base] = pushed[base] or {}
    pushed[base][#pushed[base] + 1] = id
  end
  if exact then call('HSET', key, 'jk_timeout', exact) end
  if d then
    call('HSET', key, 'jk_key', d.k)
    bind(name, id, d, due)
  end
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
