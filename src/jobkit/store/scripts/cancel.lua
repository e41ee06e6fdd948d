-- cancel: ends a job that waits or runs; its worker is told through RQ's command channel.
-- KEYS  head, the queue's block
-- ARGV  2 id   3 reason   4 exc_string (base64 of zlib)   5 keep failed
-- reply 'canceled', 'ended' (it had ended before) or 'missing'
-- bound constant, a search of the queue's list where that is at most 10,000 long (in a longer one the id stays as a
--       stale hint that the claim drops), and 200 deletions
-- invariant a running attempt loses its claim here: nothing that it does afterwards is recorded
--@include keys limits own result trim
local base, id = block(1), ARGV[2]
local key = job_key(id)
local h = call('HMGET', key, 'status', 'jk_token', 'worker_name', 'jk_exec', 'data', 'jk_lane', 'jk_held')
if not h[1] and not h[5] then return 'missing' end
if h[1] == 'finished' or h[1] == 'failed' or h[1] == 'stopped' or h[1] == 'canceled' then return 'ended' end
call('ZREM', KEYS[base + Q.SCHEDULED], id)
call('ZREM', KEYS[base + Q.DEFERRED], id)
if h[1] == 'queued' and call('LLEN', KEYS[base + Q.LIST]) <= 10000 then call('LREM', KEYS[base + Q.LIST], 1, id) end
if h[6] then
  local _, lane = lane_of(h[6])
  call('ZREM', lane_key(queue_name(base), lane), id)
end
if h[7] then call('ZREM', P .. ':jk:held:' .. h[7] .. ':' .. queue_name(base), id) end
if h[2] then release(base, id, h[2], h[4], h[3]) end
call('HSET', key, 'status', 'canceled', 'ended_at', ISO, 'jk_dead', '1', 'jk_reason', ARGV[3])
call('HDEL', key, 'jk_token', 'jk_exec', 'jk_parked', 'jk_held')
call('PERSIST', key)
call('ZADD', KEYS[base + Q.CANCELED], FAR, id)
call('ZADD', KEYS[base + Q.GONE], NOW, id)
add_result(id, 3, h[3] or '', h[2] or '', NOW / 1000, NOW / 1000, 'exc_string', ARGV[4])
if h[2] and h[3] then
  call('PUBLISH', P .. ':pubsub:' .. h[3], cjson.encode({command = 'stop-job', job_id = id}))
end
trim_count(base, tonumber(ARGV[5]), Q.GONE, Q.CANCELED, 'canceled')
keep_clock()
return 'canceled'
