-- What a plain RQ client asked for by name, for one ending of its job: JSON, empty for jobkit's own jobs. `ttl` is its
-- result_ttl or failure_ttl in seconds: the queue's retention does not count such a job. RQ's meaning: 0 is deleted at
-- once, below 0 is kept for ever.
local function read_terms(text) return text ~= '' and cjson.decode(text) or nil end

-- Gives an ended job its time to live; answers its score in RQ's registry, nil where it is gone.
local function live_for(id, ttl)
  local key = job_key(id)
  if ttl == 0 then
    local group = call('HGET', key, 'group_id')
    if group and group ~= '' then call('SREM', P .. ':group:' .. group, id) end
    call('UNLINK', key, P .. ':results:' .. id, key .. ':dependents', P .. ':job::' .. id .. ':dependencies',
         P .. ':jk:steps:' .. id)
    return nil
  elseif ttl < 0 then
    return '+inf'
  end
  call('EXPIRE', key, ttl)
  call('EXPIRE', P .. ':results:' .. id, ttl)
  return string.format('%.3f', NOW / 1000 + ttl)
end

-- A failed or stopped job's place: its own time to live, or the queue's retention.
local function bury(base, id, terms)
  if not (terms and terms.ttl) then
    call('ZADD', KEYS[base + Q.FAILED], FAR, id)
    call('ZADD', KEYS[base + Q.DEAD], NOW, id)
    return
  end
  local score = live_for(id, terms.ttl)
  if score then call('ZADD', KEYS[base + Q.FAILED], score, id) end
end
