-- read: a job as it stands, and its latest result entry, at one moment.
-- KEYS  head
-- ARGV  2 id   3 '1' where the caller waits for the end: it will leave an entry, whatever it gives back
--       4.. the hash fields to read; the first two are origin and status
-- reply {fields, due (unix s) or false, latest entry or false}; false where there is no such job
-- bound constant
-- invariant fields and entry belong together: an ended state comes with the entry that ended it; a key that is no hash
--       reads as a job without fields, and a stream that is none as one without entries
--@include keys
local ENDED = {finished = true, failed = true, stopped = true, canceled = true}
local id = ARGV[2]
local fields = redis.pcall('HMGET', job_key(id), unpack(ARGV, 4))
if fields.err then
  fields = {}
  for i = 4, #ARGV do fields[i - 3] = false end
end
if call('EXISTS', job_key(id)) == 0 then return false end
-- A full server refuses the mark; the waiter looks at the job again and again in any case.
if ARGV[3] == '1' and fields[2] and not ENDED[fields[2]] then redis.pcall('HSETNX', job_key(id), 'jk_tell', '1') end
local due = fields[1] and call('ZSCORE', P .. ':scheduled:' .. fields[1], id)
local last = redis.pcall('XREVRANGE', P .. ':results:' .. id, '+', '-', 'COUNT', 1)
return {fields, due or false, last[1] or false}
