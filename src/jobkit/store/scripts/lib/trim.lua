-- Retention. Ages and counts rank by our own zsets (DONE, DEAD, GONE: id -> ms); RQ's registries only list.
-- A job that was requeued since is not deleted: its status no longer matches.
local TRIM_BOUND = 200
local function forget(base, ids, rank, registry, wanted)
  if #ids == 0 then return 0 end
  local gone = {}
  for _, id in ipairs(ids) do
    local status = redis.pcall('HGET', job_key(id), 'status')
    if status == wanted or status == 'stopped' and wanted == 'failed' or not status then
      gone[#gone + 1] = job_key(id)
      gone[#gone + 1] = P .. ':results:' .. id
      if wanted ~= 'finished' then  -- a finish has taken the steps, and nothing corrupt ever finishes
        gone[#gone + 1] = P .. ':jk:steps:' .. id
        gone[#gone + 1] = P .. ':executions:' .. id
        gone[#gone + 1] = P .. ':jk:corrupt:' .. id
      end
    end
  end
  call('ZREM', KEYS[base + rank], unpack(ids))
  call('ZREM', KEYS[base + registry], unpack(ids))
  for i = 1, #gone, SLICE do call('UNLINK', unpack(gone, i, math.min(i + SLICE - 1, #gone))) end
  return #ids
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
