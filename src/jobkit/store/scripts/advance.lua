-- advance: finishes a batch of attempts and claims for the slots they free, in one call.
-- KEYS  head, a block a queue, last the caller's reply key
-- ARGV  2 worker   3 name of the call, with which its tokens begin   4 lease (ms)   5 n pairs   6.. pairs: queue block,
--       want
--       then n finished, each: queue block, id, token, result (base64 JSON or ''), started, ended (unix s), keep
--       completed, a plain client's terms (JSON: ttl; left, wait in ms, intervals: it is to be repeated) or '' for our own, number
--       of follow-ups, and that many records of eight (see enqueue)
-- reply {jobs, lost tokens, wait_ms} as claim answers it
-- bound the caller's batch (at most 500 finishes), 200 follow-ups written here and the rest stored for promotion, 200
--       dependents released here and the rest noted for a sweep, 200 deletions a queue
-- invariant a finish needs hash, token, lease member and a status that is not canceled or stopped; a repeated one
--       (jk_done) answers as the first did; follow-ups and finish are one step; a job of jobkit's own that gave nothing
--       back at its first attempt, and that nobody waits for (jk_tell), leaves no entry in its result stream
--@include keys limits rules lanes dedupe write own result trim terms release promote row pauses flow claim replay
local ENDED = {canceled = true, stopped = true, finished = true}
local reply_key = KEYS[#KEYS]
local kept = replayed(ARGV[3])
if kept then return kept end
local worker, n = ARGV[2], tonumber(ARGV[5])
local at = 6 + 2 * n
local count = tonumber(ARGV[at])
at = at + 1
local lost, per_queue, budget, ok, ended = {}, {}, 200, 0, {}

local function follow_ups(from, many)
  for i = 0, many - 1 do
    local a = from + i * RECORD
    local base = block(ARGV[a + 7])
    if budget > 0 then
      budget = budget - 1
      write_job(base, ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4], ARGV[a + 5], ARGV[a + 6])
    else
      local delay, due = tonumber(ARGV[a + 4]), ARGV[a + 5]
      if delay > 0 then due = NOW + delay end
      call('RPUSH', KEYS[base + Q.FOLLOW], ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], 0, due, ARGV[a + 6])
      pushed[base] = pushed[base] or {}
    end
  end
end

local function repeat_job(base, id, token, asked)
  local key = job_key(id)
  call('PERSIST', key)
  call('HDEL', key, 'jk_token')
  call('HSET', key, 'jk_done', token, 'repeats_left', asked.left, 'repeat_intervals', asked.intervals)
  pushed[base] = pushed[base] or {}
  if asked.wait > 0 then
    call('HSET', key, 'status', 'scheduled')
    call('ZADD', KEYS[base + Q.SCHEDULED], (NOW + asked.wait) / 1000, id)
  else
    call('HSET', key, 'status', 'queued', 'enqueued_at', ISO)
    table.insert(pushed[base], id)
  end
end

-- One look a queue for the leases of the whole batch, and one removal below.
local finishes, leases = {}, {}
for i = 1, count do
  local base = block(ARGV[at])
  finishes[i] = {at, base, member(ARGV[at + 1], ARGV[at + 2])}
  leases[base] = leases[base] or {}
  table.insert(leases[base], finishes[i][3])
  at = at + 9 + tonumber(ARGV[at + 8]) * RECORD
end
local held = {}
for base, members in pairs(leases) do
  pass_when_full(base)
  held[base] = {}
  for i, score in ipairs(call('ZMSCORE', KEYS[base + Q.LEASE], unpack(members))) do held[base][members[i]] = score end
end

local vanilla = {}
for i = 1, count do
  local from, base, claim_member = unpack(finishes[i])
  local id, token, value, started, stopped, keep, asked, many = unpack(ARGV, from + 1, from + 8)
  local key = job_key(id)
  local h = redis.pcall('HMGET', key, 'jk_token', 'status', 'jk_exec', 'jk_steps', 'jk_reason', 'jk_tell', 'jk_lane')
  local state = 'own'
  if h[1] ~= token or not held[base][claim_member] or ENDED[h[2]] then
    state = standing(base, id, token, held[base][claim_member])
  end
  if state == 'own' then
    ok = ok + 1
    local q = per_queue[base]
    if not q then
      q = {keep = tonumber(keep), members = {}, rows = {}}
      per_queue[base] = q
    end
    q.members[#q.members + 1] = claim_member
    if h[3] then release(base, id, token, h[3], worker) end
    ended[ok] = id
    if h[3] or h[5] then call('HDEL', key, 'jk_exec', 'jk_parked', 'jk_reason') end
    if h[4] then call('UNLINK', P .. ':jk:steps:' .. id) end
    if h[7] then free_limits(queue_name(base), claim_member) end
    if value ~= '' then
      call('HSET', key, 'status', 'finished', 'ended_at', ISO, 'jk_gave', '1')
      add_result(id, '1', worker, token, started, stopped, 'return_value', value)
    else
      call('HSET', key, 'status', 'finished', 'ended_at', ISO)
      if h[6] or asked ~= '' then add_result(id, '1', worker, token, started, stopped, 'jk', '') end
    end
    if asked ~= '' then
      vanilla[#vanilla + 1] = {base, id, token, read_terms(asked), q}
    else
      local n = #q.rows
      q.rows[n + 1], q.rows[n + 2] = FAR, id
    end
    if many ~= '0' then follow_ups(from + 9, tonumber(many)) end
  elseif state == 'lost' then
    lost[#lost + 1] = token
  end
end

-- RQ's order: dependents go first, also those of a job that is repeated, or deleted at once.
if ok > 0 then release_batch(ended, 'finished') end
for _, each in ipairs(vanilla) do
  local base, id, token, asked, q = unpack(each)
  local score = FAR
  if asked.ttl and not (asked.left and asked.ttl <= 0) then score = live_for(id, asked.ttl) end
  if asked.left then
    repeat_job(base, id, token, asked)
  elseif score then
    q.rows[#q.rows + 1] = score
    q.rows[#q.rows + 1] = id
  end
end

for base, q in pairs(per_queue) do
  each_slice(q.members, 'ZREM', KEYS[base + Q.LEASE])
  each_slice(q.members, 'ZREM', KEYS[base + Q.WIP])
  each_slice(q.rows, 'ZADD', KEYS[base + Q.FINISHED])
  trim_finished_count(base, q.keep)
end
if ok > 0 then
  flush_pushes()
  count_worker(worker, 'successful_job_count', ok)
end
local out = {}
local wait = claim_all(6, n, worker, tonumber(ARGV[4]), ARGV[3], out)
for i = 0, n - 1 do per_queue[block(ARGV[6 + 2 * i])] = nil end
for base in pairs(per_queue) do ring_for_room(base) end
local reply = {out, lost, wait}
if ok > 0 or #out > 0 then
  keep_clock()
  keep_reply(reply_key, ARGV[3], reply, 4 * tonumber(ARGV[4]))
end
return reply
