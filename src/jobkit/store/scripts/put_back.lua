-- put_back: returns claimed jobs to the front of their queue, unfinished and uncounted, in the order of the call.
-- KEYS  head, a block a queue
-- ARGV  2 worker   3 n   4.. n triples: queue block, id, token
-- reply the tokens that were lost
-- bound the caller's batch (at most 500)
-- invariant no attempt is used and no result entry is written
--@include keys limits own
pass_when_full(block(1))
local lost, rung = {}, {}
for i = tonumber(ARGV[3]), 1, -1 do
  local at = 4 + (i - 1) * 3
  local base, id, token = block(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local state, execution = standing(base, id, token)
  if state == 'own' then
    release(base, id, token, execution, ARGV[2])
    call('HSET', job_key(id), 'status', 'queued', 'jk_done', token)
    call('HDEL', job_key(id), 'jk_token', 'jk_exec', 'worker_name', 'started_at')
    call('LPUSH', KEYS[base + Q.LIST], id)
    rung[base] = true
  elseif state == 'lost' then
    lost[#lost + 1] = token
  end
end
for base in pairs(rung) do ring(base) end
return lost
