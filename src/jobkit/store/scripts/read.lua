-- read: a job as it stands, and its latest result entry, at one moment. Writes nothing.
-- KEYS  head
-- ARGV  2 id   3.. the hash fields to read; the first is origin
-- reply {fields, due (unix s) or false, latest entry or false}; false where there is no such job
-- bound constant
-- invariant fields and entry belong together: an ended state comes with the entry that ended it; a key that is no hash
--       reads as a job without fields, and a stream that is none as one without entries
--@include keys
local id = ARGV[2]
local fields = redis.pcall('HMGET', job_key(id), unpack(ARGV, 3))
if fields.err then
  fields = {}
  for i = 3, #ARGV do fields[i - 2] = false end
end
if call('EXISTS', job_key(id)) == 0 then return false end
local due = fields[1] and call('ZSCORE', P .. ':scheduled:' .. fields[1], id)
local last = redis.pcall('XREVRANGE', P .. ':results:' .. id, '+', '-', 'COUNT', 1)
return {fields, due or false, last[1] or false}
