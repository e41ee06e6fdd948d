-- Retention. Finished jobs rank by RQ's own registry: ours have the time of their end plus ten years as their score there,
-- and only those are ours to delete (a job with a time to live of its own has the end of that, or infinity). Failed and
-- canceled ones rank by our own zsets (DEAD, GONE: id -> ms), because RQ's tools write into those registries.
-- A job that was requeued since is not deleted: its status no longer matches.
-- A parent that did not finish stays while one of its dependents (of 20 taken at random) waits for it: RQ reads a parent
-- that is gone as met.
local TRIM_BOUND = 200
local function is_awaited(id)
  local children = redis.pcall('SRANDMEMBER', job_key(id) .. ':dependents', 20)
  for _, child in ipairs(children) do
    if redis.pcall('HGET', job_key(child), 'status') == 'deferred' then return true end
  end
  return false
end

local function forget(base, ids, rank, registry, wanted)
  if #ids == 0 then return 0 end
  local gone, stays = {}, {}
  for _, id in ipairs(ids) do
    local status = redis.pcall('HGET', job_key(id), 'status')
    if status == wanted or status == 'stopped' and wanted == 'failed' or not status then
      if wanted ~= 'finished' and is_awaited(id) then
        stays[#stays + 1] = id
      else
        gone[#gone + 1] = job_key(id)
        gone[#gone + 1] = P .. ':results:' .. id
        if wanted ~= 'finished' then  -- a finish has taken the steps, and nothing corrupt ever finishes
          gone[#gone + 1] = P .. ':jk:steps:' .. id
          gone[#gone + 1] = P .. ':executions:' .. id
          gone[#gone + 1] = P .. ':jk:corrupt:' .. id
          gone[#gone + 1] = job_key(id) .. ':dependents'
          gone[#gone + 1] = P .. ':job::' .. id .. ':dependencies'
        end
      end
    end
  end
  if rank then call('ZREM', KEYS[base + rank], unpack(ids)) end
  call('ZREM', KEYS[base + registry], unpack(ids))
  for _, id in ipairs(stays) do
    call('ZADD', KEYS[base + rank], NOW_TEXT, id)
    call('ZADD', KEYS[base + registry], FAR, id)
  end
  for i = 1, #gone, SLICE do call('UNLINK', unpack(gone, i, math.min(i + SLICE - 1, #gone))) end
  return #ids - #stays
end

local function trim_count(base, keep, rank, registry, wanted)
  local over = call('ZCARD', KEYS[base + rank]) - keep
  if over <= 0 then return 0 end
  return forget(base, call('ZRANGE', KEYS[base + rank], 0, math.min(over, TRIM_BOUND) - 1), rank, registry, wanted)
end

local function trim_age(base, age, rank, registry, wanted)
  if age <= 0 then return 0 end
  local old = call('ZRANGEBYSCORE', KEYS[base + rank], '-inf', NOW - age, 'LIMIT', 0, TRIM_BOUND)
  return forget(base, old, rank, registry, wanted)
end

local OURS = string.format('%.3f', NOW / 1000 + TEN_YEARS / 2)
local function trim_finished(base, upto, bound)
  if bound <= 0 then return 0 end
  local ids = call('ZRANGEBYSCORE', KEYS[base + Q.FINISHED], OURS, upto, 'LIMIT', 0, math.min(bound, TRIM_BOUND))
  return forget(base, ids, nil, Q.FINISHED, 'finished')
end

local function trim_finished_count(base, keep)
  return trim_finished(base, FAR, call('ZCOUNT', KEYS[base + Q.FINISHED], OURS, FAR) - keep)
end

local function trim_finished_age(base, age)
  if age <= 0 then return 0 end
  return trim_finished(base, string.format('%.3f', (NOW - age) / 1000 + TEN_YEARS), TRIM_BOUND)
end
