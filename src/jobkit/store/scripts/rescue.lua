-- rescue: takes jobs from workers whose lease has run out by the script's own clock.
-- KEYS  head, the queue's block
-- ARGV  2 bound   3 interruptions a job may cost before it counts as poison   4 keep failed   5 exc_string of poison
--       (base64 of zlib)   6 the same in one line
-- reply {rescued, poisoned, released}; together as many as the bound means: there may be more
-- bound the caller's, at most 200, 200 dependents released and 200 deletions
-- invariant only a token that is still the job's own is rescued; a job that ended or is gone only gives up what it
--       held; a key that no longer holds a hash goes to the list, where the claim quarantines it; the retry budget is
--       not touched; nothing is rescued during the grace after an outage; a job's first rescue makes it a suspect, and
--       from then on it pays for those claims alone under which it was tried out
--@include keys limits own result trim release
local ENDED = {finished = true, failed = true, stopped = true, canceled = true}
if tonumber(call('GET', GRACE) or 0) > NOW then return {0, 0, 0} end
local base = block(1)
local rescued, poisoned, released = 0, 0, 0
local late = call('ZRANGEBYSCORE', KEYS[base + Q.LEASE], '-inf', NOW, 'LIMIT', 0, tonumber(ARGV[2]))
for i = #late, 1, -1 do  -- so that the one that waited longest is at the front
  local entry = late[i]
  local id, token = string.match(entry, '^(.+):([^:]+)$')
  local h = id and redis.pcall('HMGET', job_key(id), 'jk_token', 'status', 'jk_exec', 'worker_name', 'jk_rescues',
                               'jk_tried', 'jk_died') or {}
  call('ZREM', KEYS[base + Q.LEASE], entry)
  if h.err then
    release(base, id, token, true)
    rescued = rescued + 1
    call('LPUSH', KEYS[base + Q.LIST], id)
  elseif not id or h[1] ~= token or ENDED[h[2]] then
    released = released + 1
    if id then release_ended(base, id, token, h[2], h[3], h[4]) end
    if id and h[1] == token then call('HDEL', job_key(id), 'jk_token', 'jk_exec') end
  else
    release(base, id, token, h[3], h[4])
    local key, spent = job_key(id), tonumber(h[5]) or 0
    -- An id that RQ would not take cannot be named in every call, so such a job pays for each claim.
    local died = h[7] or ''  -- who died with it, for the verdict
    if spent == 0 or h[6] == token or string.find(id, '[^%w_-]') then
      spent = spent + 1
      died = (h[7] and h[7] .. ', ' or '') .. (h[4] or '?')
    end
    call('HSET', key, 'jk_rescues', spent, 'jk_died', died)
    call('HDEL', key, 'jk_token', 'jk_exec')
    if spent > tonumber(ARGV[3]) then
      poisoned = poisoned + 1
      call('HSET', key, 'status', 'failed', 'ended_at', ISO, 'jk_dead', '1', 'jk_error', ARGV[6],
           'jk_reason', 'the workers that died with it: ' .. died)
      call('ZADD', KEYS[base + Q.FAILED], FAR, id)
      call('ZADD', KEYS[base + Q.DEAD], NOW, id)
      add_result(id, 2, h[4] or '', token, NOW / 1000, NOW / 1000, 'exc_string', ARGV[5])
      release_dependents(id, 'failed')
    else
      rescued = rescued + 1
      call('HSET', key, 'status', 'queued')
      call('LPUSH', KEYS[base + Q.LIST], id)
    end
  end
end
if rescued > 0 then ring(base) end
if poisoned > 0 then trim_count(base, tonumber(ARGV[4]), Q.DEAD, Q.FAILED, 'failed') end
if #late > 0 then keep_clock() end
return {rescued, poisoned, released}
