-- set_rules: puts the rules of queues in force, unless newer ones are.
-- KEYS  head, a block a queue
-- ARGV  2 revision   3.. a queue's rules each, in the order of the blocks: JSON, or '' for none
-- reply for each queue 1 (in force now) or 0 (a newer revision stays)
-- bound the caller's queues
-- invariant the revision never falls; claims read the rules each time, so that all workers obey the same at once; lanes
--       that wait for what the old rules said are brought back by the next sweeps; a text that cannot be read is replaced
--@include keys limits rules
local revision, out = tonumber(ARGV[2]), {}
for i = 3, #ARGV do
  local base = block(i - 2)
  local key, queue = KEYS[base + Q.RULES], queue_name(base)
  local stored = call('GET', key)
  if stored and read_rules(stored).rev > revision then
    out[#out + 1] = 0
  else
    if ARGV[i] ~= (stored or '') then
      if ARGV[i] ~= '' then call('SET', key, ARGV[i]) else call('DEL', key) end
      if call('EXISTS', blocked_by_key(queue)) == 1 then call('HSET', RECHECK, queue, '0') end
      ring(base)
    end
    out[#out + 1] = 1
  end
end
return out
