-- unlock: gives a lock back; a job that waits for the mutex may begin.
-- KEYS  head
-- ARGV  2 name   3 token
-- reply 1, or 0: it was lost before
-- bound one lane
-- invariant what another holds by now is left alone
--@include keys limits
return free_lock('mutex=' .. ARGV[2] .. ':' .. ARGV[3])
