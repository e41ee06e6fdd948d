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

-- One look a queue for the leases of the whole batch, and one removal below.
local finishes, leases = {}, {}
for i = 1, count do
  local base = block(ARGV[at])
  finishes[i] = {at, base, member(ARGV[at + 1], ARGV[at + 2])}
  leases[base] = leases[base] or {}
  table.insert(leases[base], finishes[i][3])
  at = at + 8 + tonumber(ARGV[at + 7]) * RECORD
end
local held = {}
for base, members in pairs(leases) do
  pass_when_full(base)
  held[base] = {}
  for i, score in ipairs(call('ZMSCORE', KEYS[base + Q.LEASE], unpack(members))) do held[base][members[i]] = score end
end

for i = 1, count do
  local from, base, claim_member = unpack(finishes[i])
  local id, token, value, started, ended, keep, many = unpack(ARGV, from + 1, from + 7)
  local state, execution, steps = standing(base, id, token, held[base][claim_member])
  if state == 'own' then
    ok = ok + 1
    local q = per_queue[base]
    if not q then
      q = {keep = tonumber(keep), members = {}, rows = {}, ranks = {}}
      per_queue[base] = q
    end
    local key = job_key(id)
    q.members[#q.members + 1] = claim_member
    if execution then release(base, id, token, execution, worker) end
    call('HSET', key, 'status', 'finished', 'ended_at', ISO, 'jk_done', token)
    call('HDEL', key, 'jk_token', 'jk_exec', 'jk_parked', 'jk_reason')
    if steps then call('UNLINK', P .. ':jk:steps:' .. id) end
    add_result(id, '1', worker, token, started, ended, value == '' and 'jk' or 'return_value', value)
    local n_rows = #q.rows
    q.rows[n_rows + 1], q.rows[n_rows + 2] = FAR, id
    q.ranks[n_rows + 1], q.ranks[n_rows + 2] = NOW_TEXT, id
    follow_ups(from + 8, tonumber(many))
  elseif state == 'lost' then
    lost[#lost + 1] = token
  end
end

for base, q in pairs(per_queue) do
  each_slice(q.members, 'ZREM', KEYS[base + Q.LEASE])
  each_slice(q.members, 'ZREM', KEYS[base + Q.WIP])
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
