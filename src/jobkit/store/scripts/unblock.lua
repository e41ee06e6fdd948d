-- unblock: looks after lanes that wait for a limit which nothing gives back any more: its holder's job was deleted while
-- it ran, or the rule was changed; and takes away locks whose lease is over.
-- KEYS  head
-- ARGV  2 how many limits to look at, taken at random
-- reply how many lanes were brought back
-- bound the caller's, and 16 holders and one lane of each limit; as many locks
-- invariant a lane that is brought back in vain waits again after the next claim
--@include keys limits
local back = 0
for _, owner in ipairs(call('ZRANGEBYSCORE', LOCKS, '-inf', NOW_TEXT, 'LIMIT', 0, tonumber(ARGV[2]))) do
  back = back + free_lock(owner)
end
for _, limit in ipairs(call('SRANDMEMBER', BLOCKING, tonumber(ARGV[2]))) do
  if call('EXISTS', blocked_key(limit)) == 0 then
    call('SREM', BLOCKING, limit)
  else
    drop_dead(limit)
    back = back + unblock(limit, 1)
  end
end
return back
