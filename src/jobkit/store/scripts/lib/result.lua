-- RQ's result stream of a job: one entry an attempt, the newest ten. Type 1 finished, 2 failed, 3 stopped or canceled,
-- 4 retried. A stream allocates 4 KB when it is first written; a COPY of it takes only what it holds.
local SCRATCH = P .. ':jk:scratch'
local function add_result(id, kind, worker, token, started, ended, field, value)
  local key = P .. ':results:' .. id
  if call('EXISTS', key) == 1 then
    call('XADD', key, 'MAXLEN', 10, '*', 'type', kind, 'worker_name', worker, 'execution_id', token,
         'execution_started_at', started, 'execution_ended_at', ended, field, value)
    call('COPY', key, SCRATCH)
    call('COPY', SCRATCH, key, 'REPLACE')
  else
    call('XADD', SCRATCH, '*', 'type', kind, 'worker_name', worker, 'execution_id', token,
         'execution_started_at', started, 'execution_ended_at', ended, field, value)
    call('COPY', SCRATCH, key)
  end
  call('DEL', SCRATCH)
end
