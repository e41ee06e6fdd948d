-- Waiting in lanes, and starting from them. A laned job is deferred for RQ's tools, which list, cancel and delete it; an
-- id in a lane is a hint, as one in a list is.
--   jk:lane:{q}:{lane}   zset, id -> microseconds of its enqueue less what its priority is worth
--   jk:lanes:{q}:{fair}  zset, runnable lanes of a fair key -> score of their head
--   jk:ring:{q}          zset, fair keys with runnable lanes -> their turn
--   jk:turn:{q}          the turn that was served last
--   jk:wake:{q}          zset, limits by time -> ms of their next permit

local function into_lane(base, id, field)
  local queue, score, lane = queue_name(base), lane_of(field)
  call('HSET', job_key(id), 'status', 'deferred')
  call('ZADD', KEYS[base + Q.DEFERRED], FAR, id)
  call('ZADD', lane_key(queue, lane), score, id)
  if call('HEXISTS', blocked_by_key(queue), lane) == 1 then return end
  local fair = pieces_of(lane)
  call('ZADD', lanes_key(queue, fair), 'LT', score, lane)
  call('ZADD', ring_key(queue), 'NX', call('GET', turn_key(queue)) or '0', fair)
end
