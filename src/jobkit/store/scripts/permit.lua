-- permit: counts one more in a named window, for an attempt that is about to call somebody outside.
-- KEYS  head, the queue's block
-- ARGV  2 id   3 token   4 name of the window   5 how many it admits   6 its length (ms)
-- reply 0 where it was counted, the ms until there may be room, or -1: the claim is lost
-- bound constant
-- invariant only the owner of a claim is counted; in any window of the server's clock no more than it admits
--@include keys limits rules own flow
pass_when_full(block(1))
if standing(block(1), ARGV[2], ARGV[3]) ~= 'own' then return -1 end
local limit, n, per = 'permit/' .. ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
local opens = window_opens(limit, n, per)
if opens then return opens - NOW end
note_claims(limit, n, per, 1)
keep_clock()
return 0
