-- stamp: says that a sweep is at work; after a time without any (an outage) all leases get a grace.
-- KEYS  head, the sweep's stamp
-- ARGV  2 silence that counts as an outage (ms)   3 grace (ms)   4 the age from which a stamp is replaced (ms)
-- reply 1 where the caller is to sweep, 0 where somebody has begun to less than that ago
-- bound constant
-- invariant a missing stamp is no outage: nothing was ever swept here
--@include keys
call('PERSIST', KEYS[6])  -- a no-op that a full server lets through, with all behind it: sweeping frees memory
local last = tonumber(call('GET', KEYS[6]) or 0)
if NOW - last < tonumber(ARGV[4]) then return 0 end
if last > 0 and NOW - last > tonumber(ARGV[2]) then
  call('SET', GRACE, string.format('%.0f', NOW + tonumber(ARGV[3])), 'PX', ARGV[3])
end
call('SET', KEYS[6], string.format('%.0f', NOW))
keep_clock()
return 1
