-- try_out: says that a suspect is about to run: should its worker die now, that counts towards its budget.
-- KEYS  head, the queue's block
-- ARGV  2 id   3 token
-- reply 'own' or 'lost'
-- bound constant
-- invariant a suspect that was claimed and had not begun when its worker died pays nothing for that (see rescue)
--@include keys limits own
pass_when_full(block(1))
if standing(block(1), ARGV[2], ARGV[3]) ~= 'own' then return 'lost' end
call('HSET', job_key(ARGV[2]), 'jk_tried', ARGV[3])
return 'own'
