-- lock: takes a mutex for somebody who is no job, where nobody holds it.
-- KEYS  head
-- ARGV  2 name   3 token   4 lease (ms)
-- reply its fencing number, or 0: somebody else holds it
-- bound constant
-- invariant one holder at a time, be it a job or a lock; fencing numbers only grow; a call whose reply was lost may be
--       repeated
--@include keys limits
local limit = 'mutex=' .. ARGV[2]
local owner = limit .. ':' .. ARGV[3]
if not call('ZSCORE', LOCKS, owner) and call('ZCARD', run_key(limit)) > 0 then
  drop_dead(limit)
  if call('ZCARD', run_key(limit)) > 0 then return 0 end
end
call('ZADD', LOCKS, string.format('%.0f', NOW + tonumber(ARGV[4])), owner)
call('ZADD', run_key(limit), NOW_TEXT, US .. owner)
keep_clock()
return call('INCR', P .. ':jk:fence')
