// BullMQ for Node, producer and worker: JSON, finished jobs kept for ever as by default.
//   node bullmq.js FOLDER produce --mode one --count 10000 --job noop
//   node bullmq.js FOLDER work
'use strict';
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const [folder, role, ...rest] = process.argv.slice(2);
const { Queue, Worker } = createRequire(path.resolve(folder, 'index.js'))('bullmq');

const url = new URL(process.env.BENCH_URL);
const connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
const queueName = process.env.BENCH_QUEUE || 'bench';
const noteBytes = Number(process.env.BENCH_NOTE_BYTES || 0);
const BULK = 1000;
const FLIGHT = 100;
const SLEEP_MS = 20;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The same clock as Python's time.monotonic().
function monotonic() {
  const [seconds, nanos] = process.hrtime();
  return seconds + nanos / 1e9;
}

function payload(value) {
  return {
    v: value,
    user: 'u-104233',
    event: 'invoice.paid',
    amount: 1299,
    tags: ['billing', 'eu'],
    note: noteBytes ? 'n'.repeat(noteBytes) : 'thank you for your order, it is on its way',
  };
}

function* chunks(many, size) {
  for (let i = 0; i < many.length; i += size) yield many.slice(i, i + size);
}

async function produce({ mode, count, job, base, interval }) {
  const queue = new Queue(queueName, { connection });
  await queue.waitUntilReady();
  const many = mode === 'paced' ? [] : Array.from({ length: count }, (_, i) => payload(base + i));
  const begin = monotonic();
  const cpu = process.cpuUsage();
  if (mode === 'one') {
    for (const data of many) await queue.add(job, data);
  } else if (mode === 'bulk') {
    for (const part of chunks(many, BULK)) await queue.addBulk(part.map((data) => ({ name: job, data })));
  } else if (mode === 'flight') {
    for (const part of chunks(many, FLIGHT)) await Promise.all(part.map((data) => queue.add(job, data)));
  } else {
    for (let i = 0; i < count; i++) {
      await sleep(Math.max(0, (begin + i * interval - monotonic()) * 1000));
      await queue.add(job, payload(monotonic()));
    }
  }
  const used = process.cpuUsage(cpu);
  const seconds = monotonic() - begin;
  await queue.close();
  console.log(JSON.stringify({ count, seconds, cpu: (used.user + used.system) / 1e6 }));
}

function work() {
  const file = fs.openSync(process.env.BENCH_RECORDS, 'a');
  const buffer = Buffer.alloc(24);
  function record(value, start) {
    buffer.writeDoubleLE(value, 0);
    buffer.writeDoubleLE(start, 8);
    buffer.writeDoubleLE(monotonic(), 16);
    fs.writeSync(file, buffer);
    return value;
  }
  const jobs = {
    async noop(data) {
      return record(data.v, monotonic());
    },
    async sleep(data) {
      const start = monotonic();
      await sleep(SLEEP_MS);
      return record(data.v, start);
    },
  };
  const concurrency = Number(process.env.BENCH_CONCURRENCY || 10);
  const worker = new Worker(queueName, (job) => jobs[job.name](job.data), { connection, concurrency });
  worker.on('error', (error) => console.error(error));
  process.on('SIGTERM', () => worker.close().then(() => process.exit(0)));
}

function parse(words) {
  const options = { mode: 'one', count: 0, job: 'noop', base: 0, interval: 0.01 };
  for (let i = 0; i < words.length; i += 2) {
    const key = words[i].replace(/^--/, '');
    options[key] = typeof options[key] === 'number' ? Number(words[i + 1]) : words[i + 1];
  }
  return options;
}

if (role === 'work') work();
else produce(parse(rest));
