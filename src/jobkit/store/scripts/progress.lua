-- progress: keeps how far a job says it has come.
-- KEYS  head, the queue's block
-- ARGV  2 id   3 token   4 progress (JSON: [percent, message])
-- reply 'own' or 'lost'
-- bound constant
-- invariant only the owner of the claim writes progress
--@include keys limits own
pass_when_full(block(1))
if standing(block(1), ARGV[2], ARGV[3]) ~= 'own' then return 'lost' end
call('HSET', job_key(ARGV[2]), 'jk_progress', ARGV[4])
return 'own'
