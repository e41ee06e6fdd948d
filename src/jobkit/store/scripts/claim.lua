-- claim: starts up to the wanted number of jobs of each queue.
-- KEYS  head, a block a queue, last the caller's reply key
-- ARGV  2 worker   3 name of the call, with which its tokens begin   4 lease (ms)   5 n pairs   6.. pairs: queue block,
--       want
--       then, where the caller looks for parked jobs, its release
-- reply {jobs, lost (none), wait_ms}; a job is {queue block, n, id, data, extra, timeout} and, unless this is its first
--       claim by jobkit, {.., failed, epoch, rescues, parked_ms, terms of a plain client's job or ''}; its token is the
--       call's name, '-' and n; wait_ms is the time to the next due job, -1 where none is known, 0 where it stopped at
--       its bound among jobs that a pause holds
-- bound want + 64 visits and 200 promotions a queue; with a release, as many visits of parked jobs, in 100 sets at most
-- invariant the reply is kept before it is sent: a lost one is given again for the same call; a release is given no
--       parked job that it has parked itself
--@include keys limits rules lanes dedupe write own promote row pauses flow claim parked replay
local reply_key = KEYS[#KEYS]
local kept = replayed(ARGV[3])
if kept then return kept end
local out, pairs_n = {}, tonumber(ARGV[5])
local release_name = ARGV[6 + 2 * pairs_n]

local function start_parked(base, index, want)
  local got, visits, leases, wips = 0, want + 64, {}, {}
  local queue = queue_name(base)
  if stands and stands(queue) then return 0 end
  local parts = paused_parts and paused_parts(queue)
  local lease_end = string.format('%.0f', NOW + tonumber(ARGV[4]))
  local rules = rules_of(queue) or NO_RULES
  want = admitted(queue, rules, want)
  for _, releases in ipairs(call('ZRANGEBYSCORE', offers_key(base), NOW_TEXT, '+inf', 'LIMIT', 0, 100)) do
    -- A service that asked for a pause is left alone by these, too.
    local more = not among(release_name, releases) and call('EXISTS', until_key(queue)) == 0
    while more and got < want and visits > 0 do
      local found = call('ZPOPMIN', offered_key(base, releases), math.min(want - got, visits))
      if #found == 0 then
        call('ZREM', offers_key(base), releases)
        more = false
      end
      for i = 1, #found, 2 do
        local id = found[i]
        local h = fields(id)
        visits = visits - 1
        -- Anything else may have become of it since; then it waits for something else, or does not wait.
        if h[1] == 'scheduled' and string.match(call('HGET', job_key(id), 'jk_parked') or '', ' (.*)$') == releases
            and call('ZREM', KEYS[base + Q.SCHEDULED], id) == 1 then
          local lane = h[9] and select(2, lane_of(h[9]))
          local _, pieces = pieces_of(lane or '')
          if barred(queue, pieces, rules) then
            move_into_lane(base, id, h[9])
          elseif not (parts and hold(base, queue, parts, id, h)) then
            got = got + 1
            begin(base, index, id, h, ARGV[2], lease_end, ARGV[3], out, leases, wips)
            take_limits(queue, lane, pieces, rules, member(id, ARGV[3] .. '-' .. #out))
          end
        end
      end
    end
  end
  keep_leases(base, leases, wips)
  note_started(queue, rules, got)
  return got
end

local wait = claim_all(6, pairs_n, ARGV[2], tonumber(ARGV[4]), ARGV[3], out, release_name and start_parked)
local reply = {out, {}, wait}
if #out > 0 then
  keep_clock()
  keep_reply(reply_key, ARGV[3], reply, 4 * tonumber(ARGV[4]))
end
return reply
