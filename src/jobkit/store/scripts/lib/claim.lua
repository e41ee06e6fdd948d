-- Starting jobs of one queue. Checks: the hash exists, its status is queued, no live token holds it; otherwise the id
-- is a stale hint and is dropped. Bound: `want` plus 64 visits, those of jobs that a pause holds among them.
-- Invariant: a started job has jk_token in its hash and its member in the lease zset, both written here.
local PROMOTE_BOUND = 200
local function start(base, id, h, token, worker)
  local key = job_key(id)
  local epoch, past, terms = '1', {}, nil
  if h[6] then
    epoch = string.format('%.0f', (tonumber(h[6]) or 0) + 1)
    past = past_of(id)
    call('HSET', key, 'jk_tell', '1')  -- its result stream may hold another end: this attempt's has to be the last there
  end
  call('HSET', key, 'status', 'started', 'started_at', ISO, 'worker_name', worker, 'jk_token', token, 'jk_epoch', epoch)
  if past[4] then  -- a dead letter that RQ's own tools requeued: it starts a new life
    call('HDEL', key, 'jk_dead', 'jk_failed', 'jk_rescues', 'jk_died', 'jk_parked', 'jk_reason', 'jk_error', 'jk_retries',
         'number_of_retries')
    if past[5] then call('HSET', key, 'retries_left', past[5]) end  -- a plain client's, before they were used
    call('ZREM', KEYS[base + Q.DEAD], id)
    past = {}
  end
  if not h[3] then terms = terms_of(id) end
  -- A time to live ends with the claim. Plain clients set one, and so do RQ's workers, whose save leaves started_at.
  if h[8] or not h[3] then call('PERSIST', key) end
  return epoch, past, terms
end

-- Starts a job and writes it into the reply; its lease waits for `keep_leases`, so that a batch costs one write a queue.
local function begin(base, queue, id, h, worker, lease_end, token_base, out, leases, wips)
  local n, at = #out + 1, #leases
  local token = token_base .. '-' .. n
  leases[at + 1], leases[at + 2] = lease_end, member(id, token)
  wips[at + 1], wips[at + 2] = FAR, leases[at + 2]
  out[n] = row(queue, n, id, h, start(base, id, h, token, worker))
end

local function keep_leases(base, leases, wips)
  each_slice(leases, 'ZADD', KEYS[base + Q.LEASE])
  each_slice(wips, 'ZADD', KEYS[base + Q.WIP])
end

-- ms until the next due job of the queue, or -1.
local function wait_of(base)
  local first = call('ZRANGE', KEYS[base + Q.SCHEDULED], 0, 0, 'WITHSCORES')
  if #first == 0 then return -1 end
  return math.max(1, math.ceil(tonumber(first[2]) * 1000 - NOW))
end

-- The shorter of two waits; -1 is none.
local function soonest(one, other)
  if one < 0 then return other end
  return other < 0 and one or math.min(one, other)
end

-- `out` is the reply's list and also numbers the tokens, so that a replayed call names the same ones.
local function claim(base, queue, want, worker, lease, token_base, out)
  local lease_end = string.format('%.0f', NOW + lease)
  promote(base, PROMOTE_BOUND)
  local list, visits, got, leases, wips = KEYS[base + Q.LIST], want + 64, 0, {}, {}
  local name, asked = queue_name(base), want
  if stands then
    local paused, opens = stands(name)
    if paused then return 0, false, opens end
  end
  local rules = rules_of(name)
  if rules then want = admitted(name, rules, want) end
  local parts = paused_parts and paused_parts(name)
  while got < want and visits > 0 do
    local ids = call('LPOP', list, math.min(want - got, visits))
    if not ids or #ids == 0 then break end
    visits = visits - #ids
    for _, id in ipairs(ids) do
      local h = fields(id)
      if h.err then
        quarantine(base, id)
        h = fields(id)
      end
      local claimable = h[1] == 'queued' or not h[1] and call('EXISTS', job_key(id)) == 1
      if claimable and not (h[5] and call('ZSCORE', KEYS[base + Q.LEASE], member(id, h[5]))) then
        if h[9] then
          move_into_lane(base, id, h[9])
        elseif not (parts and hold(base, name, parts, id, h)) then
          got = got + 1
          begin(base, queue, id, h, worker, lease_end, token_base, out, leases, wips)
        end
      end
    end
  end
  if got < want then
    got = got + from_lanes(base, want - got, rules or NO_RULES, function(id, h)
      begin(base, queue, id, h, worker, lease_end, token_base, out, leases, wips)
      return token_base .. '-' .. #out
    end, parts and function(id, h) return hold(base, name, parts, id, h) end)
  end
  keep_leases(base, leases, wips)
  if rules then note_started(name, rules, got) end
  local more = call('EXISTS', list, KEYS[base + Q.FOLLOW], ring_key(name)) > 0
  local shut = rules and (more or got < asked) and closed(name, rules)
  -- Who was given less learns when there will be more. Where nobody was, somebody has to ask; unless an end will ring.
  if shut and (got < asked or shut < 0) then more = false end
  if more then ring(base) end
  if parts and more and got < want then return got, more, 0 end  -- it stopped at its bound, among jobs that it held
  return got, more, shut or got < asked and permit_in(name) or -1
end

-- Claims for each (queue block, want) pair; answers the shortest wait of the queues that came up empty. Where
-- `start_first` is given, it may start some of the wanted jobs before and says how many.
local function claim_all(pairs_at, n, worker, lease, token_base, out, start_first)
  local wait = -1
  local asleep = SEEN[2]
  for i = 0, n - 1 do
    local index, want = ARGV[pairs_at + 2 * i], tonumber(ARGV[pairs_at + 2 * i + 1])
    if want > 0 then
      if start_first and not asleep then want = want - start_first(block(index), tonumber(index), want) end
      if asleep then
        wait = 1000
      else
        local base = block(index)
        local got, more, permit = claim(base, tonumber(index), want, worker, lease, token_base, out)
        if got < want then
          local w = soonest(wait_of(base), permit)
          if w >= 0 and (wait < 0 or w < wait) then wait = w end
          -- Nothing waits, so nobody need look: a bell that rings for nothing costs each worker an empty claim.
          if w < 0 and not more then call('DEL', KEYS[base + Q.BELL]) end
        end
      end
    end
  end
  return wait
end
