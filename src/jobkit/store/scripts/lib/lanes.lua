-- Waiting in lanes, and starting from them. A laned job is deferred for RQ's tools, which list, cancel and delete it; an
-- id in a lane is a hint, as one in a list is.
--   jk:lane:{q}:{lane}   zset, id -> microseconds of its enqueue less what its priority is worth
--   jk:lanes:{q}:{fair}  zset, runnable lanes of a fair key -> score of their head
--   jk:ring:{q}          zset, fair keys with runnable lanes -> their turn
--   jk:turn:{q}          the turn that was served last
--   jk:wake:{q}          zset, limits by time -> ms of their next permit

local joined = {}
local function join_ring(queue, fair)
  local known = queue .. US .. fair
  if joined[known] then return end
  joined[known] = true
  call('ZADD', ring_key(queue), 'NX', call('GET', turn_key(queue)) or '0', fair)
end

-- The job's status is written by the caller.
local function into_lane(base, id, score, lane)
  local queue = queue_name(base)
  call('ZADD', KEYS[base + Q.DEFERRED], FAR, id)
  call('ZADD', lane_key(queue, lane), score, id)
  if call('HEXISTS', blocked_by_key(queue), lane) == 1 then return end
  local fair = string.match(lane, '^[^' .. US .. ']*')
  call('ZADD', lanes_key(queue, fair), 'LT', score, lane)
  join_ring(queue, fair)
end

-- A job of the queue's list that belongs into a lane.
local function move_into_lane(base, id, field)
  call('HSET', job_key(id), 'status', 'deferred')
  into_lane(base, id, lane_of(field))
end
