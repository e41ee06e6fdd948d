-- bookkeep: what a worker writes about itself, in one step: registration, heartbeat, its queues' rules, a wake-up.
-- KEYS  head
-- ARGV  2.. commands, each the number of its words and the words
-- reply how many commands were run
-- bound the caller's: a few commands a queue
-- invariant passes on a full server: it is drained by the workers that start and live there
--@include keys
call('PERSIST', CLOCK)  -- a no-op that a full server lets through, with all behind it
local at, ran = 2, 0
while ARGV[at] do
  local words = tonumber(ARGV[at])
  call(unpack(ARGV, at + 1, at + words))
  at, ran = at + words + 1, ran + 1
end
return ran
