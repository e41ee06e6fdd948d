-- peek: rings for queues that hold jobs nobody was told of: plain RQ clients push and ring nothing. One caller at a
-- time does it, elected by a key that it renews while it asks.
-- KEYS  head, the specs, the election's key
-- ARGV  2 caller   3 how long an election holds (ms)
-- reply how many bells were rung; where another caller is elected, the number of workers (1 or more), negative
-- bound one look a queue that jobkit serves
-- invariant a queue that is paused as a whole, or whose limits admit nothing, is left alone: its bell would go round;
--       reads only, and one small write when it rings or renews: it may be asked several times a second
--@include keys limits rules pauses
local specs, elected = KEYS[6], KEYS[7]
local holder, ttl = call('GET', elected), tonumber(ARGV[3])
if holder and holder ~= ARGV[2] then return -math.max(1, call('SCARD', P .. ':workers')) end
if call('PTTL', elected) < ttl / 2 then call('SET', elected, ARGV[2], 'PX', ttl) end
if SEEN[2] then return 0 end
local rung = 0
for _, list in ipairs(call('SMEMBERS', QUEUES)) do
  local name = string.sub(list, #P + 8)
  local bell = P .. ':jk:bell:' .. name
  if call('EXISTS', list) == 1 and call('EXISTS', bell) == 0 and call('HEXISTS', specs, name) == 1
      and not (stands and stands(name)) then
    local rules = rules_of(name)
    -- Who was refused knows when to ask again.
    if not (rules and closed(name, rules)) then
      call('RPUSH', bell, '1')
      rung = rung + 1
    end
  end
end
return rung
