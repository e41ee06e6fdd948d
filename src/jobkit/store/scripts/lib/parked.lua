-- Jobs that no processor of some releases could take. `jk_parked` holds the time of the first parking in a row and,
-- behind a space, the releases that have parked the job. Until it falls due it is offered to all other releases: one
-- zset a set of releases (id -> due ms), and one that lists these sets (releases -> latest due ms). Both are hints, and
-- both expire; the job itself is scheduled.
local MOST_RELEASES = 16

local function offers_key(base) return P .. ':jk:parked:' .. queue_name(base) end
local function offered_key(base, releases) return P .. ':jk:parked_by:' .. releases .. ':' .. queue_name(base) end
local function among(release, releases) return string.find(',' .. releases .. ',', ',' .. release .. ',', 1, true) end

local function keep_offer(key, due, name, delay)
  call('ZREMRANGEBYSCORE', key, '-inf', NOW_TEXT)
  local score = tonumber(call('ZSCORE', key, name) or 0)
  call('ZADD', key, string.format('%.0f', math.max(score, due)), name)
  if call('PTTL', key) < delay then call('PEXPIRE', key, math.max(1, delay)) end
end

local function park(base, id, release, delay)
  local key = job_key(id)
  local since, releases = string.match(call('HGET', key, 'jk_parked') or '', '^(%d+) ?(.*)$')
  if not since then since, releases = NOW_TEXT, '' end
  if release ~= '' and not among(release, releases) then
    releases = releases == '' and release or releases .. ',' .. release
  end
  call('HSET', key, 'jk_parked', releases == '' and since or since .. ' ' .. releases)
  local _, commas = string.gsub(releases, ',', '')
  if release == '' or commas >= MOST_RELEASES then return end  -- it comes again when it falls due
  keep_offer(offers_key(base), NOW + delay, releases, delay)
  keep_offer(offered_key(base, releases), NOW + delay, id, delay)
end
