-- Jobs that fell due, and follow-ups left over from a finish that had more than one script may write.
local function promote_due(base, bound)
  local due = call('ZRANGEBYSCORE', KEYS[base + Q.SCHEDULED], '-inf', NOW / 1000, 'LIMIT', 0, bound)
  if #due == 0 then return 0 end
  call('ZREM', KEYS[base + Q.SCHEDULED], unpack(due))
  local ready, first = {}, {}
  for _, id in ipairs(due) do
    local h = redis.pcall('HMGET', job_key(id), 'status', 'jk_rescues')
    if h.err then  -- no hash: the claim quarantines it
      ready[#ready + 1] = id
    elseif h[1] == 'scheduled' then
      call('HSET', job_key(id), 'status', 'queued', 'enqueued_at', ISO)
      -- A suspect was put to the front when it was rescued, and may have been put off behind another suspect since: it
      -- does not wait for all that came in meanwhile.
      if h[2] then table.insert(first, 1, id) else ready[#ready + 1] = id end
    end
  end
  each_slice(ready, 'RPUSH', KEYS[base + Q.LIST])
  each_slice(first, 'LPUSH', KEYS[base + Q.LIST])
  return #due
end

local function drain_follow(base, bound)
  local flat = call('LPOP', KEYS[base + Q.FOLLOW], bound * (RECORD - 1))
  if not flat then return 0 end
  for i = 1, #flat, RECORD - 1 do
    write_job(base, flat[i], flat[i + 1], flat[i + 2], flat[i + 3], flat[i + 4], flat[i + 5], flat[i + 6])
  end
  flush_pushes()
  return #flat / (RECORD - 1)
end

local function promote(base, bound)
  if call('EXISTS', KEYS[base + Q.SCHEDULED], KEYS[base + Q.FOLLOW]) == 0 then return 0 end
  local n = promote_due(base, bound)
  return n + drain_follow(base, bound - n > 0 and bound - n or 1)
end
