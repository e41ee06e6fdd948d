-- advance: finishes a batch of attempts and claims for the slots they free, in one call.
-- KEYS  head, a block a queue, last the caller's reply key
-- ARGV  2 worker   3 name of the call, with which its tokens begin   4 lease (ms)   5 n pairs   6.. pairs: queue block,
--       want
--       then n finished, each: queue block, id, token, result (base64 JSON or ''), started, ended (unix s), keep
--       completed, number of follow-ups, and that many records of seven (see enqueue)
-- reply {jobs, lost tokens, wait_ms} as claim answers it
-- bound the caller's batch (at most 500 finishes), 200 follow-ups written here and the rest stored for promotion, 200
--       deletions a queue
-- invariant a finish needs hash, token, lease member and a status that is not canceled or stopped; a repeated one
--       (jk_done) answers as the first did; follow-ups and finish are one step
--@include keys write own result trim promote claim replay
local reply_key = KEYS[#KEYS]
local kept = replayed(reply_key, ARGV[3])
if kept then return kept end
local worker, n = ARGV[2], tonumber(ARGV[5])
local at = 6 + 2 * n
local count = tonumber(ARGV[at])
at = at + 1
local lost, per_queue, budget, ok = {}, {}, 200, 0

local function follow_ups(from, many)
  for i = 0, many - 1 do
    local a = from + i * RECORD
    local base = block(ARGV[a + 6])
    if budget > 0 then
      budget = budget - 1
      write_job(base, ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5])
    else
      local delay, due = tonumber(ARGV[a + 4]), ARGV[a + 5]
      if delay > 0 then due = NOW + delay end
      call('RPUSH', KEYS[base + Q.FOLLOW], ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], 0, due)
      pushed[base] = pushed[base] or {}
    end
  end
end

for _ = 1, count do
  local index, id, token, value, started, ended = unpack(ARGV, at, at + 5)
  local keep, many = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local base = block(index)
  local state, execution, steps = standing(base, id, token)
  if state == 'own' then
    ok = ok + 1
    local q = per_queue[base]
    if not q then
      q = {keep = keep, wip = {}, rows = {}, ranks = {}}
      per_queue[base] = q
    end
    call('ZREM', KEYS[base + Q.LEASE], member(id, token))
    q.wip[#q.wip + 1] = member(id, token)
    if execution then release(base, id, token, execution, worker) end
    call('HSET', job_key(id), 'status', 'finished', 'ended_at', ISO, 'jk_done', token)
    call('HDEL', job_key(id), 'jk_token', 'jk_exec', 'jk_parked', 'jk_reason')
    if steps then call('UNLINK', P .. ':jk:steps:' .. id) end
    if value == '' then
      add_result(id, 1, worker, token, started, ended, 'jk', '')
    else
      add_result(id, 1, worker, token, started, ended, 'return_value', value)
    end
    q.rows[#q.rows + 1] = FAR
    q.rows[#q.rows + 1] = id
    q.ranks[#q.ranks + 1] = NOW
    q.ranks[#q.ranks + 1] = id
    follow_ups(at + 8, many)
  elseif state == 'lost' then
    lost[#lost + 1] = token
  end
  at = at + 8 + many * RECORD
end

for base, q in pairs(per_queue) do
  each_slice(q.wip, 'ZREM', KEYS[base + Q.WIP])
  each_slice(q.rows, 'ZADD', KEYS[base + Q.FINISHED])
  each_slice(q.ranks, 'ZADD', KEYS[base + Q.DONE])
  trim_count(base, q.keep, Q.DONE, Q.FINISHED, 'finished')
end
if ok > 0 then
  flush_pushes()
  count_worker(worker, 'successful_job_count', ok)
end
local out = {}
local wait = claim_all(6, n, worker, tonumber(ARGV[4]), ARGV[3], out)
local reply = {out, lost, wait}
if ok > 0 or #out > 0 then
  keep_clock()
  keep_reply(reply_key, ARGV[3], reply, 4 * tonumber(ARGV[4]))
end
return reply
