-- fail: ends an attempt that raised; the job waits for its next attempt, or joins the dead letters.
-- KEYS  head, the queue's block
-- ARGV  2 id   3 token   4 worker   5 delay_ms, -1 for the dead letters   6 exc_string (base64 of zlib)   7 the error
--       in one line   8 started   9 ended (unix s)   10 keep failed   11 counts as failed: 1 or 0
--       12 terms of a plain client's job (JSON: ttl; how: 'raised' or 'returned' an rq.Retry; left: retries then; was:
--       before; front: the retry goes to the front) or ''
-- reply 'own' (recorded), 'done' (recorded before: the reply was lost) or 'lost'
-- bound constant, 200 dependents released and 200 deletions
-- invariant the count of failures grows only here; every attempt leaves a result entry
--@include keys limits own result trim terms release
local base, id, token, worker, delay = block(1), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local state, execution = standing(base, id, token)
if state ~= 'own' then return state end
release(base, id, token, execution, worker)
local key, terms = job_key(id), read_terms(ARGV[12])
local kind = delay < 0 and 2 or 4
if delay < 0 then
  call('HSET', key, 'status', 'failed', 'ended_at', ISO, 'jk_done', token, 'jk_dead', '1', 'jk_error', ARGV[7])
elseif delay == 0 then
  call('HSET', key, 'status', 'queued', 'enqueued_at', ISO, 'jk_done', token, 'jk_error', ARGV[7])
  call(terms and terms.front and 'LPUSH' or 'RPUSH', KEYS[base + Q.LIST], id)
  ring(base)
else
  call('HSET', key, 'status', 'scheduled', 'jk_done', token, 'jk_error', ARGV[7])
  call('ZADD', KEYS[base + Q.SCHEDULED], (NOW + delay) / 1000, id)
  ring(base)
end
call('HDEL', key, 'jk_token', 'jk_exec', 'jk_parked', 'jk_reason')
if ARGV[11] == '1' then call('HINCRBY', key, 'jk_failed', 1) end
if terms and terms.how == 'returned' then
  if delay < 0 then kind = 5 else call('HINCRBY', key, 'number_of_retries', 1) end
elseif terms and terms.left and delay >= 0 then
  call('HSETNX', key, 'jk_retries', terms.was)
  call('HSET', key, 'retries_left', terms.left)
end
add_result(id, kind, worker, token, ARGV[8], ARGV[9], 'exc_string', ARGV[6])
count_worker(worker, 'failed_job_count', 1)
if delay < 0 then
  release_dependents(id, 'failed')
  bury(base, id, terms)
  trim_count(base, tonumber(ARGV[10]), Q.DEAD, Q.FAILED, 'failed')
end
keep_clock()
return 'own'
