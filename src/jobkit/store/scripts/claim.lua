-- claim: starts up to the wanted number of jobs of each queue.
-- KEYS  head, a block a queue, last the caller's reply key
-- ARGV  2 worker   3 name of the call, with which its tokens begin   4 lease (ms)   5 n pairs   6.. pairs: queue block,
--       want
-- reply {jobs, lost (none), wait_ms}; a job is {queue block, id, token, data, extra, timeout, failed, epoch, rescues,
--       parked_ms, enqueued_at, terms of a plain client's job or ''}; wait_ms is the time to the next due job, -1 where
--       none is known
-- bound want + 64 visits and 200 promotions a queue
-- invariant the reply is kept before it is sent: a lost one is given again for the same call
--@include keys write own promote claim replay
local reply_key = KEYS[#KEYS]
local kept = replayed(reply_key, ARGV[3])
if kept then return kept end
local out = {}
local wait = claim_all(6, tonumber(ARGV[5]), ARGV[2], tonumber(ARGV[4]), ARGV[3], out)
local reply = {out, {}, wait}
if #out > 0 then
  keep_clock()
  keep_reply(reply_key, ARGV[3], reply, 4 * tonumber(ARGV[4]))
end
return reply
