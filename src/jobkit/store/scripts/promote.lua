-- promote: queues the jobs of one queue that fell due and follow-ups that were left over; holds the lock that keeps
-- RQ's own scheduler from promoting behind us.
-- KEYS  head, the queue's block
-- ARGV  2 bound
-- reply how many moved; as many as the bound means: there may be more
-- bound the caller's, at most 200
-- invariant a job leaves the scheduled registry and enters the list in one step; an entry whose job is no longer
--       scheduled is dropped
--@include keys write promote
local base = block(1)
local n = promote(base, tonumber(ARGV[2]))
if n > 0 then
  ring(base)
  keep_clock()
end
if not call('SET', KEYS[base + Q.LOCK], 'jobkit', 'NX', 'EX', 60) and call('GET', KEYS[base + Q.LOCK]) == 'jobkit' then
  call('EXPIRE', KEYS[base + Q.LOCK], 60)
end
return n
