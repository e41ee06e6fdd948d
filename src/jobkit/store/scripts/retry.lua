-- retry: gives an ended job a new life with all its attempts, or brings a scheduled one forward to now.
-- KEYS  head, the queue's block
-- ARGV  2 id
-- reply 'queued', or the status that cannot be retried ('queued' jobs answer 'waiting'), or 'missing'
-- bound constant
-- invariant the job's results of earlier attempts stay; its steps are kept, so that what was done is not redone;
--       an attempt that still holds a claim loses it
--@include keys limits own
local base, id = block(1), ARGV[2]
local key = job_key(id)
local h = call('HMGET', key, 'status', 'jk_token', 'jk_exec', 'worker_name', 'jk_retries', 'jk_lane', 'jk_held')
local status = h[1]
if not status then return 'missing' end
if status == 'queued' or status == 'deferred' and (h[6] or h[7]) then return 'waiting' end
if status ~= 'failed' and status ~= 'stopped' and status ~= 'canceled' and status ~= 'scheduled' then return status end
if h[2] then release(base, id, h[2], h[3], h[4]) end  -- RQ's tools canceled it while it ran: that attempt is over
for _, zset in ipairs({Q.FAILED, Q.CANCELED, Q.SCHEDULED, Q.DEAD, Q.GONE}) do call('ZREM', KEYS[base + zset], id) end
call('HSET', key, 'status', 'queued', 'enqueued_at', ISO)
if status ~= 'scheduled' then
  call('HDEL', key, 'jk_dead', 'jk_failed', 'jk_rescues', 'jk_died', 'jk_reason', 'jk_error', 'ended_at', 'jk_progress',
       'jk_retries', 'number_of_retries')
  if h[5] then call('HSET', key, 'retries_left', h[5]) end  -- a plain client's, before they were used
end
call('HDEL', key, 'jk_token', 'jk_exec', 'jk_parked', 'worker_name')
if h[6] and status == 'scheduled' then  -- its place in its lane is that of the time at which it was to begin
  local score, lane = lane_of(h[6])
  if score > NOW * 1000 then call('HSET', key, 'jk_lane', string.format('%.0f', NOW * 1000) .. US .. lane) end
end
call('PERSIST', key)
call('RPUSH', KEYS[base + Q.LIST], id)
call('SADD', QUEUES, KEYS[base + Q.LIST])
ring(base)
keep_clock()
return 'queued'
