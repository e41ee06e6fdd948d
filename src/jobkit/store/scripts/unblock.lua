-- unblock: looks after lanes that wait: for a limit that has room, which its holders' ends have not given to them (the
-- rule was changed, or the lane that was brought back could not use it); and for what rules said that were replaced. Takes
-- away locks whose lease is over.
-- KEYS  head
-- ARGV  2 how many limits to look at, taken at random   3 how many lanes of queues whose rules were replaced
-- reply {how many lanes were brought back, 1 where more are to be}
-- bound the caller's; 16 holders and 16 lanes of each limit; as many locks
-- invariant a limit without room wakes nobody; a lane that is brought back in vain waits again after the next claim
--@include keys limits rules
local back, known = 0, {}
for _, owner in ipairs(call('ZRANGEBYSCORE', LOCKS, '-inf', NOW_TEXT, 'LIMIT', 0, tonumber(ARGV[2]))) do
  back = back + free_lock(owner)
end
for _, limit in ipairs(call('SRANDMEMBER', BLOCKING, tonumber(ARGV[2]))) do
  local waiter = call('ZRANGE', blocked_key(limit), 0, 0)[1]
  if not waiter then
    call('SREM', BLOCKING, limit)
  else
    drop_dead(limit)
    local queue = string.match(waiter, '^(.-)' .. US)
    local piece = string.sub(limit, 1, 6) == 'mutex=' and limit or string.sub(limit, #queue + 2)
    known[queue] = known[queue] or rules_of(queue) or NO_RULES
    -- More than there is room for: some may be of queues that nobody serves. Those woken in vain wait again.
    back = back + unblock(limit, room(limit, rule_of(piece, known[queue])) > 0 and 16 or 0)
  end
end
local changed = call('HGETALL', RECHECK)
if #changed == 0 then return {back, 0} end
local queue = changed[1]
local page = call('HSCAN', blocked_by_key(queue), changed[2], 'COUNT', tonumber(ARGV[3]))
for i = 1, #page[2], 2 do
  local lane, limit = page[2][i], page[2][i + 1]
  call('ZREM', blocked_key(limit), queue .. US .. lane)
  call('HDEL', blocked_by_key(queue), lane)
  if show_lane(queue, lane) then back = back + 1 end
end
call('HDEL', RECHECK, queue)  -- first: a full server lets it pass
if page[1] ~= '0' then call('HSET', RECHECK, queue, page[1]) end
return {back, call('EXISTS', RECHECK)}
