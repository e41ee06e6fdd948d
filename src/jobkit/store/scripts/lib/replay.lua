-- Replies get lost. Each call has a name that no other call has, not even one of an earlier life of the same caller;
-- the last reply is kept under the caller's name and given again for the same call, so that a repetition changes
-- nothing. Jobs whose lease has gone to somebody else since are left out. An empty reply is not kept: nothing changed.
local function replayed(key, name)
  local kept = call('GET', key)
  if not kept then return nil end
  local cut = string.find(kept, '|', 1, true)
  if string.sub(kept, 1, cut - 1) ~= name then return nil end
  local reply, own = cmsgpack.unpack(string.sub(kept, cut + 1)), {}
  for _, job in ipairs(reply[1]) do
    if call('ZSCORE', KEYS[block(job[1]) + Q.LEASE], member(job[2], job[3])) then own[#own + 1] = job end
  end
  return {own, reply[2], reply[3]}
end
local function keep_reply(key, name, reply, ttl_ms)
  call('SET', key, name .. '|' .. cmsgpack.pack(reply), 'PX', ttl_ms)
end
