-- pause: puts a pause in force.
-- KEYS  head
-- ARGV  2 how many may be in force   3 its id   4 the pause, JSON (lib/pauses.lua) without `s`
-- reply since when it is in force (ms); 0 where its end has passed; -1 where as many as may be are in force
-- bound constant
-- invariant a call that is repeated finds its own id; a full server lets it pass
--@include keys
local pause, all, live = cjson.decode(ARGV[4]), SEEN[4] and cjson.decode(SEEN[4]) or {}, 0
for _, each in ipairs(all) do
  if each.id == ARGV[3] then return each.s end
  if not each.u or each.u > NOW then live = live + 1 end
end
if pause.u and pause.u <= NOW then return 0 end
if live >= tonumber(ARGV[2]) then return -1 end
pause.s = NOW
all[#all + 1] = pause
call('PERSIST', PAUSES)  -- a no-op that a full server lets through, with what is behind it
call('SET', PAUSES, cjson.encode(all))
keep_clock()
return NOW
