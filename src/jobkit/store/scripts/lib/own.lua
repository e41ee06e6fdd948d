-- Ownership. Truth is the token: `jk_token` in the job's hash and the member `id:token` in the queue's lease zset.
-- Status is for display.
local function member(id, token) return id .. ':' .. token end

-- A worker whose hash is gone (it died, or was away for long) is not counted: the count would outlive it for ever.
local function count_worker(worker, field, n)
  local key = P .. ':worker:' .. worker
  if call('EXISTS', key) == 1 then call('HINCRBY', key, field, n) end
end

-- Gives up what a claim held. The ZREM comes first: it passes on a full server, and so does all that follows it.
local function release(base, id, token, has_execution, worker)
  call('ZREM', KEYS[base + Q.LEASE], member(id, token))
  call('ZREM', KEYS[base + Q.WIP], member(id, token))
  free_limits(queue_name(base), member(id, token))
  if call('EXISTS', KEYS[base + Q.RULES]) == 1 then ring(base) end  -- there may be room for one more now
  if has_execution then
    worker = worker or call('HGET', P .. ':execution:' .. member(id, token), 'worker_name')
    call('DEL', P .. ':execution:' .. member(id, token))
    call('ZREM', P .. ':executions:' .. id, token)
    if worker then call('SREM', P .. ':worker:' .. worker .. ':executions', member(id, token)) end
  end
end

-- The same for a job that ended elsewhere. One that was deleted cannot say any more what was written for it.
local function release_ended(base, id, token, status, has_execution, worker)
  local gone = not status and call('EXISTS', job_key(id)) == 0
  release(base, id, token, has_execution or gone, worker)
  if gone then call('UNLINK', P .. ':jk:steps:' .. id) end
end

-- A full server refuses a script whose first write may grow it, and lets this no-op and all behind it pass: what
-- runs may go on and end.
local function pass_when_full(base) call('ZREM', KEYS[base + Q.LEASE], '') end

-- 'own': the caller owns the record; with it, whether execution keys and steps were written.
-- 'done': this very token ended the attempt before and the reply was lost. A finish leaves the token where it is: without
-- its lease it owns nothing, and one write less is a twentieth of a finish.
-- 'lost': somebody else owns it, or it is canceled, stopped or gone; what the token still held is given up. A key that
-- no longer holds a hash keeps its lease: rescue brings it to the dead letters. `lease` is the member's score where the
-- caller has looked it up, in a batch.
local function standing(base, id, token, lease)
  local h = redis.pcall('HMGET', job_key(id), 'jk_token', 'status', 'jk_done', 'jk_exec', 'worker_name', 'jk_steps')
  if h.err then return 'lost' end
  if h[1] == token and h[2] == 'finished' then return 'done' end
  if h[1] == token and h[2] ~= 'canceled' and h[2] ~= 'stopped' then
    if lease == nil then lease = call('ZSCORE', KEYS[base + Q.LEASE], member(id, token)) end
    if lease then return 'own', h[4], h[6] end
    return 'lost'
  end
  if h[3] == token then return 'done' end
  release_ended(base, id, token, h[2], h[4], h[5])
  if h[1] == token then call('HDEL', job_key(id), 'jk_token', 'jk_exec') end
  return 'lost'
end
