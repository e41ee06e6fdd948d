-- resume: ends pauses, and brings back what ended ones held: to the front of its queue, in its order.
-- KEYS  head
-- ARGV  2 bound   3.. ids of the pauses to end; none where a sweep looks for pauses whose time is over
-- reply {how many of the named were ended, how many jobs were brought back, 1 where more are held still}
-- bound the caller's jobs, at most 200; one look for each pause and queue that hold jobs
-- invariant only a job that is held by that pause comes back: what was cancelled, deleted or requeued meanwhile is dropped;
--       what is left over when the caller dies, a sweep brings back; a full server lets it pass
--@include keys limits
local HELD, none = P .. ':jk:held', {}
if not SEEN[4] and call('EXISTS', HELD) == 0 then return {0, 0, 0} end
call('PERSIST', PAUSES)  -- a no-op that a full server lets through, with all behind it
local named, kept, live, ended, over = {}, {}, {}, 0, 0
for i = 3, #ARGV do named[ARGV[i]] = true end
for _, pause in ipairs(SEEN[4] and cjson.decode(SEEN[4]) or none) do
  if named[pause.id] then
    ended = ended + 1
  elseif not pause.u or pause.u > NOW then
    kept[#kept + 1] = pause
    live[pause.id] = true
  end
  if not live[pause.id] then
    over = over + 1
    if pause.q then ring_name(pause.q) end
  end
end
if over > 0 then
  if #kept > 0 then call('SET', PAUSES, cjson.encode(kept)) else call('DEL', PAUSES) end
  keep_clock()
end

local budget, back, more = tonumber(ARGV[2]), 0, 0
for _, entry in ipairs(call('SMEMBERS', HELD)) do
  local pause, queue = string.match(entry, '^(.-):(.*)$')
  if not live[pause] then
    local key, ready = HELD .. ':' .. entry, {}
    -- From the last: each call puts what it brings back before what the call before it has brought.
    local popped = budget > 0 and call('ZPOPMAX', key, budget) or none
    for i = 1, #popped, 2 do
      local id = popped[i]
      local h = redis.pcall('HMGET', job_key(id), 'status', 'jk_held')
      if h.err then  -- no hash: the claim quarantines it
        ready[#ready + 1] = id
      elseif h[2] == pause then
        call('HDEL', job_key(id), 'jk_held', 'jk_reason')
        if h[1] == 'deferred' then
          call('HSET', job_key(id), 'status', 'queued')
          call('ZREM', P .. ':deferred:' .. queue, id)
          ready[#ready + 1] = id
        end
      end
    end
    budget = budget - #popped / 2
    if #ready > 0 then
      back = back + #ready
      each_slice(ready, 'LPUSH', P .. ':queue:' .. queue)
      call('SADD', QUEUES, P .. ':queue:' .. queue)
      ring_name(queue)
    end
    if call('EXISTS', key) == 1 then more = 1 else call('SREM', HELD, entry) end
  end
end
return {ended, back, more}
