-- The keyspace every script shares. Queue-level keys are passed in; a job's own keys are built from the prefix,
-- because a claim learns the ids only while it runs.
--   KEYS[1..5]  clock, queues, suspended, grace, pauses
--   KEYS[6..]   one block of 14 keys a queue, in the order of Q below (the loader puts its numbers in place)
--   ARGV[1]     key prefix, without the colon
local call, P = redis.call, ARGV[1]
local CLOCK, QUEUES, SUSPENDED, GRACE, PAUSES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local HEAD, BLOCK = 5, 14
local Q = {LIST = 1, WIP = 2, LEASE = 3, BELL = 4, SCHEDULED = 5, FINISHED = 6, FAILED = 7, CANCELED = 8,
           DEFERRED = 9, DEAD = 10, GONE = 11, FOLLOW = 12, LOCK = 13, RULES = 14}
local TEN_YEARS = 315360000
local SLICE = 500

local function block(index) return HEAD + (tonumber(index) - 1) * BLOCK end
local function queue_name(base) return string.sub(KEYS[base + Q.LIST], #P + 8) end  -- behind 'prefix:queue:'
local function job_key(id) return P .. ':job:' .. id end

-- One look for what most scripts ask: the clock, whether RQ's tools suspended the workers, a caller's last reply, and what
-- is paused.
local SEEN = call('MGET', CLOCK, SUSPENDED, KEYS[#KEYS], PAUSES)

-- Server time in ms that never runs backwards, whatever the host's clock does. `keep_clock` stores it; it writes, so
-- it is called after the first real write of a script (a write that a full server may refuse must not come first).
local TIME = call('TIME')
local NOW = math.max(tonumber(TIME[1]) * 1000 + math.floor(tonumber(TIME[2]) / 1000), tonumber(SEEN[1] or 0))
-- A number that is given to a command is printed and read again each time: these are printed once.
local NOW_TEXT = string.format('%.0f', NOW)
local function keep_clock() call('SET', CLOCK, NOW_TEXT) end

-- NOW as RQ writes times (UTC, microseconds). Civil date from days: proleptic Gregorian, valid from 1970 on.
local ISO = (function()
  local s = math.floor(NOW / 1000)
  local days, rest = math.floor(s / 86400), s % 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local d = doy - math.floor((153 * mp + 2) / 5) + 1
  local m = mp < 10 and mp + 3 or mp - 9
  local y = yoe + era * 400 + (m <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03d000Z', y, m, d, math.floor(rest / 3600),
                       math.floor(rest % 3600 / 60), rest % 60, NOW % 1000)
end)()
local FAR = string.format('%.3f', NOW / 1000 + TEN_YEARS)

local function each_slice(list, command, key)
  for i = 1, #list, SLICE do
    call(command, key, unpack(list, i, math.min(i + SLICE - 1, #list)))
  end
end

-- At most one token lies in a bell: it says "look", not how much there is.
local function ring(base)
  local bell = KEYS[base + Q.BELL]
  if call('EXISTS', bell) == 0 then call('RPUSH', bell, '1') end
end
