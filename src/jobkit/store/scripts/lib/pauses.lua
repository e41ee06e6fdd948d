-- What is paused, for who starts jobs. The key PAUSES is a JSON list; an entry has an id, any of q (queue), n (job name)
-- and t ({tag, value}), which together say what it pauses, r (reason), b (by whom), s (since) and u (until), both ms.
-- One whose `u` has passed is not in force; `resume` takes it away. A pause of a queue alone leaves the backlog where it
-- is; other jobs are held as they are met, each in the set of its pause and queue:
--   jk:held:{pause}:{queue}  zset, id -> its place
--   jk:held                  set of these, `pause:queue`
-- A held job is deferred for RQ's tools, which list, cancel and delete it; an id in such a set is a hint.
-- Without any pause the functions are nil.
local stands, paused_parts, hold
if SEEN[4] then
  local in_force, places = {}, {}
  -- What cannot be read pauses nothing: no text stops all queues.
  local ok, list = pcall(cjson.decode, SEEN[4])
  for _, pause in ipairs(ok and type(list) == 'table' and list or {}) do
    if not pause.u or pause.u > NOW then in_force[#in_force + 1] = pause end
  end

  -- Whether all of a queue is paused, and the ms until it is not (-1: until somebody resumes it).
  function stands(queue)
    local opens
    for _, pause in ipairs(in_force) do
      if pause.q == queue and not pause.n and not pause.t then
        if not pause.u then return true, -1 end
        opens = math.max(opens or 0, pause.u - NOW)
      end
    end
    return opens ~= nil, opens or -1
  end

  -- The pauses of some jobs of a queue; nil for none.
  function paused_parts(queue)
    local found
    for _, pause in ipairs(in_force) do
      if (not pause.q or pause.q == queue) and (pause.n or pause.t) then
        found = found or {}
        found[#found + 1] = pause
        pause.opening = pause.n and '["jobkit.worker.perform",null,["' .. pause.n .. '",'
      end
    end
    return found
  end

  -- `jk` of a job, read once for all pauses; somebody else may have written it.
  local function extra_of(h)
    if not h.extra then
      local ok, extra = pcall(cjson.decode, h[3] or '{}')
      h.extra = ok and type(extra) == 'table' and extra or {}
    end
    return h.extra
  end

  -- The name of a job whose data is compressed stands in `jk`.
  local function is_named(pause, h)
    local data = h[2] or ''
    if string.sub(data, 1, 1) == '[' then return string.sub(data, 1, #pause.opening) == pause.opening end
    return extra_of(h).n == pause.n
  end

  local function is_tagged(pause, h)
    local tags = extra_of(h).t
    return type(tags) == 'table' and tags[pause.t[1]] == pause.t[2]
  end

  -- Holds the job where one of the pauses is about it, behind those that it holds already; answers whether.
  function hold(base, queue, parts, id, h)
    for _, pause in ipairs(parts) do
      if (not pause.n or is_named(pause, h)) and (not pause.t or is_tagged(pause, h)) then
        local key = P .. ':jk:held:' .. pause.id .. ':' .. queue
        if not places[key] then
          places[key] = tonumber(call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2] or 0)
          call('SADD', P .. ':jk:held', pause.id .. ':' .. queue)
        end
        places[key] = places[key] + 1
        call('HSET', job_key(id), 'status', 'deferred', 'jk_held', pause.id,
             'jk_reason', pause.r == '' and 'paused' or 'paused: ' .. pause.r)
        call('ZADD', KEYS[base + Q.DEFERRED], FAR, id)
        call('ZADD', key, places[key], id)
        return true
      end
    end
    return false
  end
end
