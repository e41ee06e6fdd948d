-- renew: extends the leases of a worker's claims; the first renewal writes the execution keys that RQ's stop and
-- cleanup look for (a job that ends before its first renewal never pays for them).
-- KEYS  head, a block a queue
-- ARGV  2 worker   3 lease (ms)   4 n   5.. n triples: queue block, id, token
-- reply the tokens that are lost
-- bound the caller's batch (at most 200)
-- invariant a lease is never created here, only extended
--@include keys limits own
local worker, lease, lost = ARGV[2], tonumber(ARGV[3]), {}
pass_when_full(block(1))
local ttl = math.ceil(lease / 1000) * 4
for i = 1, tonumber(ARGV[4]) do
  local at = 5 + (i - 1) * 3
  local base, id, token = block(ARGV[at]), ARGV[at + 1], ARGV[at + 2]
  local state, execution = standing(base, id, token)
  if state == 'own' then
    call('ZADD', KEYS[base + Q.LEASE], 'XX', NOW + lease, member(id, token))
    call('HSET', job_key(id), 'last_heartbeat', ISO, 'jk_exec', '1')
    local key = P .. ':execution:' .. member(id, token)
    if not execution then
      call('HSET', key, 'id', token, 'job_id', id, 'created_at', NOW / 1000, 'worker_name', worker)
      call('SADD', P .. ':worker:' .. worker .. ':executions', member(id, token))
      call('EXPIRE', P .. ':worker:' .. worker .. ':executions', ttl)
    end
    call('HSET', key, 'last_heartbeat', NOW / 1000)
    call('EXPIRE', key, ttl)
    call('ZADD', P .. ':executions:' .. id, FAR, token)
    call('EXPIRE', P .. ':executions:' .. id, ttl)
  elseif state == 'lost' then
    lost[#lost + 1] = token
  end
end
keep_clock()
return lost
