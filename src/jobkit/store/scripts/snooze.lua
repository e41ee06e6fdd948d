-- snooze: ends an attempt without a verdict; the job comes again later and no attempt is used.
-- KEYS  head, the queue's block
-- ARGV  2 id   3 token   4 worker   5 delay_ms   6 reason   7 parked: 1 where no processor could take it, else 0
--       8 the worker's release, or ''   9 limited: 1 where the others under its limit wait as long, else 0
-- reply 'own', 'done' or 'lost'
-- bound constant
-- invariant jk_parked keeps the time of the first parking in a row, so that its patience can end, and the releases that
--       parked it; it is offered to the others until it falls due, and stays scheduled meanwhile
--       a limited one does not lose its place: it waits with the others, at the front of its queue or in its lane
--@include keys limits rules lanes own parked
local base, id, token = block(1), ARGV[2], ARGV[3]
local state, execution = standing(base, id, token)
if state ~= 'own' then return state end
release(base, id, token, execution, ARGV[4])
local key = job_key(id)
call('HDEL', key, 'jk_token', 'jk_exec')
call('HSET', key, 'status', ARGV[9] == '1' and 'queued' or 'scheduled', 'jk_done', token, 'jk_reason', ARGV[6])
if ARGV[9] == '1' then
  local field = call('HGET', key, 'jk_lane')
  shut_for(base, field, tonumber(ARGV[5]))
  if field then move_into_lane(base, id, field) else call('LPUSH', KEYS[base + Q.LIST], id) end
else
  call('ZADD', KEYS[base + Q.SCHEDULED], (NOW + tonumber(ARGV[5])) / 1000, id)
end
if ARGV[7] == '1' then
  park(base, id, ARGV[8], tonumber(ARGV[5]))
else
  call('HDEL', key, 'jk_parked')
end
-- A parked job rings for nobody: the bell would go round the idle workers in turn, and the one that cannot run the job
-- would be first again when it falls due.
if ARGV[7] ~= '1' then ring(base) end
keep_clock()
return 'own'
