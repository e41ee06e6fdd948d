-- Replies get lost. A caller numbers its calls; the last reply is kept under the caller's name and given again for
-- the same number, so that a repeated call changes nothing. An empty reply is not kept: nothing changed.
local function replayed(key, seq)
  local kept = call('GET', key)
  if not kept then return nil end
  local cut = string.find(kept, '|', 1, true)
  if string.sub(kept, 1, cut - 1) ~= seq then return nil end
  return cmsgpack.unpack(string.sub(kept, cut + 1))
end
local function keep_reply(key, seq, reply, ttl_ms)
  call('SET', key, seq .. '|' .. cmsgpack.pack(reply), 'PX', ttl_ms)
end
