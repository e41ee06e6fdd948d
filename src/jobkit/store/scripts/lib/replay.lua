-- Replies get lost. Each call has a name that no other call has, not even one of an earlier life of the same caller;
-- what it did is kept under the caller's name and answered again for the same call, so that a repetition changes
-- nothing. Kept are the names of its jobs: their data is read again. Jobs whose lease has gone to somebody else since are
-- left out. An empty reply is not kept: nothing changed.
local function replayed(name)
  local kept = SEEN[3]
  if not kept then return nil end
  local cut = string.find(kept, '|', 1, true)
  if string.sub(kept, 1, cut - 1) ~= name then return nil end
  local claimed, lost, wait = unpack(cmsgpack.unpack(string.sub(kept, cut + 1)))
  local own = {}
  for at = 1, #claimed, 2 do
    local queue, id, n = claimed[at], claimed[at + 1], (at + 1) / 2
    if call('ZSCORE', KEYS[block(queue) + Q.LEASE], member(id, name .. '-' .. n)) then
      local h = fields(id)
      if not h.err then own[#own + 1] = row(queue, n, id, h, h[6] or '1', past_of(id), not h[3] and terms_of(id) or nil) end
    end
  end
  return {own, lost, wait}
end
local function keep_reply(key, name, reply, ttl_ms)
  local claimed = {}
  for i, job in ipairs(reply[1]) do claimed[2 * i - 1], claimed[2 * i] = job[1], job[3] end
  call('SET', key, name .. '|' .. cmsgpack.pack({claimed, reply[2], reply[3]}), 'PX', ttl_ms)
end
