-- set_rules: puts the rules of queues in force, unless newer ones are.
-- KEYS  head, a block a queue
-- ARGV  2 revision   3.. a queue's rules each, in the order of the blocks: JSON, or '' for none
-- reply for each queue 1 (in force now) or 0 (a newer revision stays)
-- bound the caller's queues
-- invariant the revision never falls; claims read the rules each time, so that all workers obey the same at once
--@include keys limits
local revision, out = tonumber(ARGV[2]), {}
for i = 3, #ARGV do
  local key = KEYS[block(i - 2) + Q.RULES]
  local stored = call('GET', key)
  if stored and tonumber(cjson.decode(stored).rev) > revision then
    out[#out + 1] = 0
  else
    if ARGV[i] ~= '' then call('SET', key, ARGV[i]) elseif stored then call('DEL', key) end
    ring(block(i - 2))
    out[#out + 1] = 1
  end
end
return out
