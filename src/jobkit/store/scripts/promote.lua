-- promote: queues the jobs of one queue that fell due, follow-ups and dependents that were left over, and dependents that
-- a plain RQ worker had found ready when it died; holds the lock that keeps RQ's own scheduler from promoting behind us.
-- KEYS  head, the queue's block
-- ARGV  2 bound
-- reply how many moved; as many as the bound means: there may be more
-- bound the caller's, at most 200; as many dependents, ready jobs and entries of RQ's intermediate list
-- invariant a job leaves the scheduled registry and enters the list in one step; an entry whose job is no longer
--       scheduled is dropped; what RQ's intermediate list says of a job that jobkit has since run is dropped, because RQ
--       would fail that job for it
--@include keys limits lanes dedupe write promote release
local base = block(1)
local bound, name = tonumber(ARGV[2]), queue_name(base)
local n = promote(base, bound)

local ready = P .. ':ready:' .. name
for _, id in ipairs(call('ZRANGE', ready, 0, bound - 1)) do
  call('ZREM', ready, id)
  local h = redis.pcall('HMGET', job_key(id), 'status', 'enqueue_at_front', 'ttl')
  if h[1] == 'ready_to_enqueue' then
    push_vanilla(id, name, h[2] == '1', h[3])
    n = n + 1
  end
end

local ENDED = {finished = true, failed = true, stopped = true, canceled = true}
local intermediate = KEYS[base + Q.LIST] .. ':intermediate'
for _, id in ipairs(call('LRANGE', intermediate, 0, bound - 1)) do
  local h = redis.pcall('HMGET', job_key(id), 'status', 'jk_token')
  local ours = h[2] and call('ZSCORE', KEYS[base + Q.LEASE], id .. ':' .. h[2])
  if ours or ENDED[h[1]] then call('LREM', intermediate, 1, id) end
end

if release_left(5) then n = math.max(n, bound) end
if n > 0 then
  ring(base)
  keep_clock()
end
if not call('SET', KEYS[base + Q.LOCK], 'jobkit', 'NX', 'EX', 60) and call('GET', KEYS[base + Q.LOCK]) == 'jobkit' then
  call('EXPIRE', KEYS[base + Q.LOCK], 60)
end
return n
