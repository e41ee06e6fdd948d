-- save_step: keeps what one step of a job gave, for later attempts of the same job.
-- KEYS  head, the queue's block
-- ARGV  2 id   3 token   4 step name   5 value (JSON)
-- reply 'own' or 'lost'
-- bound constant
-- invariant only the owner of the claim writes steps
--@include keys limits own
pass_when_full(block(1))
local state = standing(block(1), ARGV[2], ARGV[3])
if state ~= 'own' then return 'lost' end
call('HSET', P .. ':jk:steps:' .. ARGV[2], ARGV[4], ARGV[5])
call('HINCRBY', job_key(ARGV[2]), 'jk_steps', 1)
return 'own'
