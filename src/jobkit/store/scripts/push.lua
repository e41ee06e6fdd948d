-- push: what `enqueue` does, for jobs that wait for their turn alone, and for a caller that is no job. It is a script of
-- its own because a script's functions are made anew in each call, which a lone enqueue would pay for in vain.
-- KEYS  head, a block a queue
-- ARGV  2 n   3.. n records of eight, as `enqueue` has them, with an empty flow
-- reply a list of 1 (created) or 0 (a job of that id exists)
-- bound 500 jobs
-- invariant the first write is one a full server refuses, so that an enqueue is refused whole; acknowledged = stored
--@include keys write
local n = tonumber(ARGV[2])
local out, at, created = {}, 3, 0
for i = 1, n do
  out[i] = write_job(block(ARGV[at + 7]), ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4],
                     ARGV[at + 5], '')
  created = created + out[i]
  at = at + RECORD
end
flush_pushes()
if created > 0 then keep_clock() end  -- an enqueue that is repeated writes nothing, so a full server answers it too
return out
