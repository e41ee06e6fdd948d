-- RQ's result stream of a job: one entry an attempt, the newest ten. Type 1 finished, 2 failed, 3 stopped or canceled,
-- 4 retried. A stream allocates 4 KB when it is first written; a COPY of it takes only what it holds. The COPY fails
-- where an earlier attempt left a stream, which is the rare case. What is no stream there is replaced: it may not keep
-- a job from ending.
local SCRATCH = P .. ':jk:scratch'
local function add_result(id, kind, worker, token, started, ended, field, value)
  local key = P .. ':results:' .. id
  call('XADD', SCRATCH, '*', 'type', kind, 'worker_name', worker, 'execution_id', token,
       'execution_started_at', started, 'execution_ended_at', ended, field, value)
  if call('COPY', SCRATCH, key) == 0 then
    if call('TYPE', key).ok == 'stream' then
      call('XADD', key, 'MAXLEN', 10, '*', 'type', kind, 'worker_name', worker, 'execution_id', token,
           'execution_started_at', started, 'execution_ended_at', ended, field, value)
      call('COPY', key, SCRATCH, 'REPLACE')
    end
    call('COPY', SCRATCH, key, 'REPLACE')
  end
  call('DEL', SCRATCH)
end
