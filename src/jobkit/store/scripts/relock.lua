-- relock: extends the lease of a lock.
-- KEYS  head
-- ARGV  2 name   3 token   4 lease (ms)
-- reply 1, or 0: it is lost
-- bound constant
-- invariant a lease that has run out is never extended: somebody else may have held the mutex since
--@include keys limits
local owner = 'mutex=' .. ARGV[2] .. ':' .. ARGV[3]
local ends = call('ZSCORE', LOCKS, owner)
if not ends or tonumber(ends) <= NOW then return 0 end
call('ZREM', LOCKS, '')  -- passes on a full server, and so does all behind it
call('ZADD', LOCKS, string.format('%.0f', NOW + tonumber(ARGV[4])), owner)
keep_clock()
return 1
