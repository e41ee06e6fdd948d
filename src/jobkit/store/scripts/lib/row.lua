-- Reading a job that is to be started, and telling it to the worker.
-- The job's key holds something that is not a hash: the bytes are moved aside and a hash in their place says so, so
-- that the entry reaches the dead letters and blocks nobody.
local function quarantine(base, id)
  call('RENAME', job_key(id), P .. ':jk:corrupt:' .. id)
  call('HSET', job_key(id), 'status', 'queued', 'origin', queue_name(base), 'created_at', ISO, 'timeout', 60,
       'data', '', 'jk_corrupt', P .. ':jk:corrupt:' .. id)
end

local function fields(id)
  return redis.pcall('HMGET', job_key(id), 'status', 'data', 'jk', 'timeout', 'jk_token', 'jk_epoch', 'jk_timeout',
                     'started_at', 'jk_lane')
end

-- A job as the reply gives it. The short form is a job's first claim by jobkit; what it has been through, or what a plain
-- client asked for, makes the long one.
local function row(queue, n, id, h, epoch, past, terms)
  local timeout = h[4] or ''
  if h[7] and math.ceil(tonumber(h[7]) or 0) == tonumber(timeout) then timeout = h[7] end
  if epoch == '1' and not terms then return {queue, n, id, h[2] or '', h[3] or '', timeout} end
  return {queue, n, id, h[2] or '', h[3] or '', timeout, past[1] or '0', epoch, past[2] or '0', past[3] or '0',
          terms or ''}
end

-- What a plain RQ client asked for, in the order of store/terms.py.
local function terms_of(id)
  local TERMS = {'retries_left', 'retry_intervals', 'enqueue_at_front_on_retry', 'number_of_retries', 'repeats_left',
                 'repeat_intervals', 'result_ttl', 'failure_ttl', 'success_callback_name', 'success_callback_timeout',
                 'failure_callback_name', 'failure_callback_timeout', 'stopped_callback_name', 'stopped_callback_timeout'}
  local terms = call('HMGET', job_key(id), unpack(TERMS))
  for i = 1, #TERMS do terms[i] = terms[i] or '' end
  return terms
end

local function past_of(id)
  return call('HMGET', job_key(id), 'jk_failed', 'jk_rescues', 'jk_parked', 'jk_dead', 'jk_retries')
end
