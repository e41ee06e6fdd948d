-- RQ's dependents: jobs in `{job}:dependents` wait, deferred, for the parents in their own `job::{id}:dependencies` (the
-- double colon is RQ's). A parent is met as RQ says: it finished, or is gone, or it failed and the child allows that.
-- A met parent is taken out of the child's set, so that a parent is looked at once and not once a sibling.
-- Bound: RELEASE_BOUND children a call, in pages; what is left is noted in `jk:release`, in the same script, and a sweep
-- goes on with it. Invariant: a child leaves the deferred registry and enters its list in one step.
local RELEASE_BOUND, RELEASE_PAGE = 200, 100
local RELEASE = P .. ':jk:release'
local visited, vanilla_queues = 0, {}

local function is_met(status, allow_failure)
  return not status or status == 'finished' or (status == 'failed' and allow_failure)
end

-- Pushes a job of any queue; rings once a queue.
local function push_vanilla(id, origin, front, ttl)
  local key, list = job_key(id), P .. ':queue:' .. origin
  call('HSET', key, 'status', 'queued', 'enqueued_at', ISO)
  if ttl and tonumber(ttl) and tonumber(ttl) >= 1 then call('EXPIRE', key, math.floor(tonumber(ttl))) end
  call(front and 'LPUSH' or 'RPUSH', list, id)
  if not vanilla_queues[origin] then
    vanilla_queues[origin] = true
    call('SADD', QUEUES, list)
    local bell = P .. ':jk:bell:' .. origin
    if call('EXISTS', bell) == 0 then call('RPUSH', bell, '1') end
  end
end

-- true: the child was pushed; false: this parent is nothing to it any more; nil: it waits for this parent on.
local function release_child(id, parent, status)
  local h = redis.pcall('HMGET', job_key(id), 'status', 'origin', 'allow_dependency_failures', 'enqueue_at_front', 'ttl')
  if h.err or not h[1] then return nil end  -- no job, or not written yet
  if h[1] ~= 'deferred' or not h[2] then return false end
  local waits_for, allow = P .. ':job::' .. id .. ':dependencies', h[3] == '1'
  if not is_met(status, allow) then return nil end
  if type(redis.pcall('SREM', waits_for, parent)) == 'table' then return nil end  -- no set
  for _ = 1, RELEASE_BOUND do
    local other = call('SRANDMEMBER', waits_for)
    if not other then
      call('ZREM', P .. ':deferred:' .. h[2], id)
      push_vanilla(id, h[2], h[4] == '1', h[5])
      return true
    end
    if not is_met(redis.pcall('HGET', job_key(other), 'status'), allow) then return false end
    call('SREM', waits_for, other)
    call('SREM', job_key(other) .. ':dependents', id)
  end
  call('RPUSH', RELEASE, parent .. '|' .. status .. '|0')
  return nil
end

-- One page of a parent's dependents, from a cursor on.
local function release_page(parent, status, cursor)
  local key = job_key(parent) .. ':dependents'
  if visited >= RELEASE_BOUND then
    call('RPUSH', RELEASE, parent .. '|' .. status .. '|' .. cursor)
    return
  end
  local page = redis.pcall('SSCAN', key, cursor, 'COUNT', RELEASE_PAGE)
  if page.err then return end  -- no set: it may not keep the parent from ending
  local done = {}
  for _, id in ipairs(page[2]) do
    visited = visited + 1
    if release_child(id, parent, status) ~= nil then done[#done + 1] = id end
  end
  each_slice(done, 'SREM', key)
  if page[1] ~= '0' then
    release_page(parent, status, page[1])
  elseif status == 'finished' then
    call('EXPIRE', key, 86400)  -- who is left waits for others, or was not written yet
  end
end

local function release_dependents(parent, status) release_page(parent, status, '0') end

-- Of a batch of parents: one look for all.
local function release_batch(parents, status)
  local keys = {}
  for i, id in ipairs(parents) do keys[i] = job_key(id) .. ':dependents' end
  local found = 0
  for i = 1, #keys, SLICE do found = found + call('EXISTS', unpack(keys, i, math.min(i + SLICE - 1, #keys))) end
  if found == 0 then return end
  for i, id in ipairs(parents) do
    if call('EXISTS', keys[i]) == 1 then release_dependents(id, status) end
  end
end

-- What earlier scripts left over; answers whether more is left.
local function release_left(bound)
  for _ = 1, bound do
    if visited >= RELEASE_BOUND then return true end
    local entry = call('LPOP', RELEASE)
    if not entry then return false end
    local parent, status, cursor = string.match(entry, '^(.-)|(%a+)|(%d+)$')
    if parent then release_page(parent, status, cursor) end
  end
  return call('EXISTS', RELEASE) == 1
end
