-- enqueue: writes new jobs, at most 500 a call, for any number of queues; all or nothing.
-- KEYS  head, a block a queue
-- ARGV  2 n   3 fence: queue block or ''   4 fence: id   5 fence: token   6.. n records of eight: id, data, timeout
--       (s), extra, delay_ms, due_ms (unix ms, 0 none), flow (JSON or ''), queue block
-- reply a list of 1 (created), 0 (a job of that id exists) or the id of the job that stands for it (dedupe); -1 where the
--       fence says that the caller lost its claim
-- bound 500 jobs
-- invariant the first write is one a full server refuses, so that an enqueue is refused whole; acknowledged = stored
--@include keys limits lanes dedupe write own
local n = tonumber(ARGV[2])
if ARGV[3] ~= '' and standing(block(ARGV[3]), ARGV[4], ARGV[5]) ~= 'own' then return -1 end
local out, at, changed = {}, 6, false
for i = 1, n do
  local moved
  out[i], moved = write_job(block(ARGV[at + 7]), ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4],
                            ARGV[at + 5], ARGV[at + 6])
  changed = changed or moved or out[i] == 1
  at = at + RECORD
end
flush_pushes()
if changed then keep_clock() end  -- an enqueue that repeats writes nothing, so a full server answers it too
return out
