-- end: closes an attempt as canceled (the processor said so) or stopped (an operator did).
-- KEYS  head, the queue's block
-- ARGV  2 id   3 token   4 worker   5 'canceled' or 'stopped'   6 reason   7 exc_string (base64 of zlib)   8 started
--       9 ended (unix s)   10 keep failed   11 a plain client's terms (JSON: ttl) or ''
-- reply 'own', 'done' or 'lost'
-- bound constant, and 200 deletions
-- invariant a stopped job is listed with the failed ones, as RQ does; a canceled one among the canceled
--@include keys limits own result trim terms
local base, id, token, worker = block(1), ARGV[2], ARGV[3], ARGV[4]
local state, execution = standing(base, id, token)
if state ~= 'own' then return state end
release(base, id, token, execution, worker)
call('HSET', job_key(id), 'status', ARGV[5], 'ended_at', ISO, 'jk_done', token, 'jk_dead', '1', 'jk_reason', ARGV[6])
call('HDEL', job_key(id), 'jk_token', 'jk_exec', 'jk_parked')
add_result(id, 3, worker, token, ARGV[8], ARGV[9], 'exc_string', ARGV[7])
if ARGV[5] == 'stopped' then
  bury(base, id, read_terms(ARGV[11]))
  trim_count(base, tonumber(ARGV[10]), Q.DEAD, Q.FAILED, 'failed')
else
  call('ZADD', KEYS[base + Q.CANCELED], FAR, id)
  call('ZADD', KEYS[base + Q.GONE], NOW, id)
  trim_count(base, tonumber(ARGV[10]), Q.GONE, Q.CANCELED, 'canceled')
end
keep_clock()
return 'own'
