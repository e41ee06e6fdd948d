-- trim: deletes what retention no longer keeps, by age and by count.
-- KEYS  head, the queue's block
-- ARGV  2 keep completed   3 keep failed   4 completed age (ms, 0 none)   5 failed age (ms, 0 none)
-- reply how many were deleted; 200 or more means: there may be more
-- bound 200 a rule, 200 canceled jobs that are taken into the count, and a look at 200 workers a list
-- invariant hash, results and steps of a job go together; a job that lives again is left alone; what RQ's tools
--       canceled has the same retention; a worker that was killed leaves RQ's lists once its registration has expired
--@include keys trim
local base = block(1)
local keep_done, keep_dead = tonumber(ARGV[2]), tonumber(ARGV[3])
local done_age, dead_age = tonumber(ARGV[4]), tonumber(ARGV[5])

-- RQ scores canceled jobs with the time of the cancel, we ten years ahead.
local soon = NOW / 1000 + 86400
local theirs = call('ZRANGEBYSCORE', KEYS[base + Q.CANCELED], '-inf', soon, 'WITHSCORES', 'LIMIT', 0, TRIM_BOUND)
for i = 1, #theirs, 2 do
  call('ZREM', KEYS[base + Q.CANCELED], theirs[i])  -- first: a full server lets it pass
  call('ZADD', KEYS[base + Q.CANCELED], FAR, theirs[i])
  call('ZADD', KEYS[base + Q.GONE], string.format('%.0f', theirs[i + 1] * 1000), theirs[i])
end

-- Taken at random, so that no living worker hides a dead one for ever.
local function forget_dead(list)
  for _, key in ipairs(call('SRANDMEMBER', list, TRIM_BOUND)) do
    if call('EXISTS', key) == 0 then call('SREM', list, key) end
  end
end
forget_dead(P .. ':workers')
forget_dead(P .. ':workers:' .. queue_name(base))

-- RQ's own times to live: whoever asked for one finds the hash gone, and the registry may not list it for ever.
for _, registry in ipairs({Q.FINISHED, Q.FAILED}) do
  local past = call('ZRANGEBYSCORE', KEYS[base + registry], 0, NOW / 1000, 'LIMIT', 0, TRIM_BOUND)
  each_slice(past, 'ZREM', KEYS[base + registry])
end

return trim_finished_age(base, done_age)
     + trim_age(base, dead_age, Q.DEAD, Q.FAILED, 'failed')
     + trim_age(base, dead_age, Q.GONE, Q.CANCELED, 'canceled')
     + trim_finished_count(base, keep_done)
     + trim_count(base, keep_dead, Q.DEAD, Q.FAILED, 'failed')
     + trim_count(base, keep_dead, Q.GONE, Q.CANCELED, 'canceled')
