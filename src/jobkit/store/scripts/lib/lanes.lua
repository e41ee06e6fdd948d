-- Waiting in lanes, and starting from them. A laned job is deferred for RQ's tools, which list, cancel and delete it; an
-- id in a lane is a hint, as one in a list is.
--   jk:lane:{q}/{lane}   zset, id -> microseconds of its enqueue less what its priority is worth
--   jk:lanes:{q}/{fair}  zset, runnable lanes of a fair key -> score of their head
--   jk:ring:{q}          zset, fair keys with runnable lanes -> their turn
--   jk:turn:{q}          the latest turn that was served, and a millionth for each fair key that joined since
--   jk:wake:{q}          zset, limits by time -> ms of their next permit

-- The job's status is written by the caller.
local function into_lane(base, id, score, lane)
  local queue = queue_name(base)
  call('ZADD', KEYS[base + Q.DEFERRED], FAR, id)
  call('ZADD', lane_key(queue, lane), score, id)
  local limit = call('HGET', blocked_by_key(queue), lane)
  if limit then
    call('ZADD', blocked_key(limit), 'XX', 'LT', score, queue .. US .. lane)
  else
    local fair = string.match(lane, '^[^' .. US .. ']*')
    call('ZADD', lanes_key(queue, fair), 'LT', score, lane)
    join_ring(queue, fair)
  end
end

-- A job of the queue's list that belongs into a lane.
local function move_into_lane(base, id, field)
  local score, lane = lane_of(field)
  if not (score and lane) then  -- somebody else wrote it
    call('HDEL', job_key(id), 'jk_lane')
    call('RPUSH', KEYS[base + Q.LIST], id)
    return
  end
  call('HSET', job_key(id), 'status', 'deferred')
  into_lane(base, id, score, lane)
end
