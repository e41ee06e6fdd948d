-- Dedupe keys. A record's flow may hold {"d": {"k": digest, "m": mode, "w": ms}}; the key jk:dedupe:{queue}:{digest} is
-- 'ms id': when a job was bound to it, and which. The job's own jk_key names the digest, so that another job which came
-- to the same id later, for something else or in another queue, is not taken for it.
-- Nothing that ends, deletes or promotes a job looks at its key, and plain jobs pay nothing: what is bound is looked up
-- when the key comes again, so that one whose job has ended, or was deleted by whatever tool, binds nobody. It goes by
-- itself: a throttle with its window, any other BINDS after its job was due or met last. That has to be longer than jobs
-- wait while their key does not come (a weekend without workers), and short enough for keys that never come again.
local BINDS = 7 * 86400 * 1000

-- `due` is when the job may start.
local function bind(name, id, d, due)
  local lives = d.m == 'throttle' and d.w or BINDS + math.max(0, due - NOW)
  call('SET', name, NOW_TEXT .. ' ' .. id, 'PX', string.format('%.0f', lives))
end

-- The job that stands for a new one with this key, or nil; with it, where it is one that a debounce may change, its due
-- time in s.
local function bound_to(base, name, d)
  local value = call('GET', name) or ''
  local at, id = string.match(value, '^(%d+) (.+)$')
  if not id then return nil end
  if d.m == 'throttle' then return NOW < tonumber(at) + d.w and id or nil end
  local h = redis.pcall('HMGET', job_key(id), 'status', 'jk_key', 'enqueued_at', 'origin')
  local status = h[1]
  if h[2] ~= d.k or h[4] ~= queue_name(base) then return nil end
  if status == 'finished' or status == 'failed' or status == 'stopped' or status == 'canceled' then return nil end
  local due = status == 'scheduled' and call('ZSCORE', KEYS[base + Q.SCHEDULED], id)
  if d.m == 'debounce' then
    -- What has been queued once has met its due time: it may be scheduled for its next attempt now.
    if due and (h[3] or '') == '' then return id, tonumber(due) end
    return nil
  end
  -- A write only where half of the time is over: what repeats is answered on a full server too, and its first write must
  -- be one that a full server refuses.
  local lives = BINDS + math.max(0, (tonumber(due or 0) or 0) * 1000 - NOW)
  if call('PTTL', name) < lives - BINDS / 2 then call('SET', name, value, 'PX', string.format('%.0f', lives)) end
  return id
end
