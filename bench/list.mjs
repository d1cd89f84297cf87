// What a change of the allow list costs, by the number of devices in it: the write, a running server, its requests
// meanwhile, a start, and memory. Each server is a process of its own. Usage:
//   node bench/list.mjs [--sizes 10,1000,10000,100000,1000000] [--places folder,redis] [--json results.json]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answer, ask, makeList, middle, round, startRedis } from './list-support.mjs';

const SELF = fileURLToPath(import.meta.url);
/** Changes of one device each, and the time between them. */
const CHANGES = 20;
const GAP_MS = 300; // a server looks at a folder four times a second

if (process.argv[2] === '--server') await serve();
else if (process.argv[2] === '--caller') await call();
else await report();

async function report() {
  const { values } = parseArgs({
    options: {
      sizes: { type: 'string', default: '10,1000,10000,100000,1000000' },
      places: { type: 'string', default: 'folder,redis' },
      json: { type: 'string' },
    },
  });
  const rows = [];
  for (const place of values.places.split(',')) {
    for (const size of values.sizes.split(',').map(Number)) {
      rows.push({ place, devices: size, ...(await measure(place, size)) });
      console.table([rows.at(-1)]);
    }
  }
  console.table(rows);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
}

async function measure(place, size) {
  const root = mkdtempSync(join(tmpdir(), 'amesh-list-'));
  const redis = place === 'redis' ? await startRedis(root) : undefined;
  const env = redis === undefined ? {} : { AMESH_STORE_URL: redis.url };
  const started = [];
  const start = async (role, ...args) => {
    const child = fork(SELF, [role, ...args], {
      env: { ...process.env, ...(role === '--server' ? env : {}) },
    });
    started.push(child);
    return { child, ask: (question) => ask(child, question), first: await once(child, 'message') };
  };
  try {
    const made = await makeList(root, env, size, 2 * CHANGES);
    const server = await start('--server', made.dir);
    const { port, loadMs } = server.first[0];
    const caller = await start('--caller', made.callers[0], String(port));
    const cold = await caller.ask('first');
    const memory = await server.ask('memory');
    await pause(1500); // after the start, "last seen" is written once
    const starting = await server.ask('longest turn');

    // One request for each change, and as many without: what the server spends on the change alone.
    const writes = [];
    const one = () => caller.ask('first');
    const idle = await spent(server, () => change({ ...made, revoke: async () => {} }, 0, [], one));
    const busy = await spent(server, () => change(made, 0, writes, one));

    // With requests, one after the other.
    await caller.ask('calls begin');
    await pause(CHANGES * GAP_MS);
    const calm = await caller.ask('calls end');
    await server.ask('longest turn');
    await caller.ask('calls begin');
    await change(made, CHANGES, writes);
    const during = await caller.ask('calls end');
    const turn = await server.ask('longest turn');

    const revoked = await start('--caller', made.callers[1], String(port));
    await revoked.ask('first');
    await revoked.ask('calls begin');
    await pause(100);
    await made.revoke(made.callerIds[1]);
    const returnedAt = Date.now();
    await pause(1500);
    const { lastGoodAt } = await revoked.ask('calls end');
    return {
      'list, MB': round(made.bytes / 1e6),
      'write, ms': middle(writes),
      'write, worst': round(Math.max(...writes)),
      'CPU a change, ms': round((busy - idle) / CHANGES),
      'request, p50 ms': during.p50,
      p99: during.p99,
      worst: during.worst,
      'worst without changes': calm.worst,
      'longest turn, ms': turn,
      'at the start': starting,
      'verify(), ms': loadMs,
      'cold first request, ms': cold.ms,
      'RSS, MB': round(memory / 1e6),
      'revoked after, ms': Math.max(0, lastGoodAt - returnedAt),
    };
  } finally {
    for (const child of started) child.kill('SIGKILL');
    redis?.stop();
    rmSync(root, { recursive: true, maxRetries: 20 });
  }
}

async function change({ revoke, ids }, from, writes, then = async () => {}) {
  for (let i = from; i < from + CHANGES; i++) {
    const startedAt = performance.now();
    await revoke(ids[i % ids.length]);
    const tookMs = performance.now() - startedAt;
    writes.push(tookMs);
    await pause(Math.max(0, GAP_MS - tookMs));
    await then();
  }
}

/** The CPU time of the server meanwhile, in ms. */
async function spent(server, action) {
  const before = await server.ask('cpu');
  await action();
  return (await server.ask('cpu')) - before;
}

async function serve() {
  const { createAmesh } = await import('@authmesh/sdk');
  const startedAt = performance.now();
  const verify = createAmesh({ dir: process.argv[3] }).verify(); // loads ioredis, before the server listens
  const loadMs = round(performance.now() - startedAt);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const server = createServer((request, response) => verify(request, response, () => response.end('ok')));
  server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port, loadMs }));
  process.on('message', ({ id, question }) => {
    if (question === 'cpu') answer(id, process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000);
    else if (question === 'memory') answer(id, process.memoryUsage().rss);
    else {
      answer(id, round(delay.max / 1e6));
      delay.reset();
    }
  });
}

/** Calls the server again and again, and measures. */
async function call() {
  const [, , , dir, port] = process.argv;
  const { createAmesh } = await import('@authmesh/sdk');
  const amesh = createAmesh({ dir });
  const times = [];
  let isCalling = false;
  let lastGoodAt = 0;
  const once = async () => {
    const startedAt = performance.now();
    const response = await amesh.fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: '{"a":1}' });
    await response.text();
    const ms = performance.now() - startedAt;
    if (response.ok) lastGoodAt = Date.now();
    return { ms, isGood: response.ok };
  };
  process.send('ready');
  process.on('message', async ({ id, question }) => {
    if (question === 'first') {
      const { identity } = amesh;
      await (typeof identity === 'function' ? amesh.identity() : identity); // the key is opened before
      const { ms, isGood } = await once();
      if (!isGood) throw new Error('The first request was refused.');
      return answer(id, { ms: round(ms) });
    }
    if (question === 'calls begin') {
      times.length = 0;
      isCalling = true;
      answer(id, null);
      while (isCalling) {
        times.push((await once()).ms);
        await pause(2);
      }
      return;
    }
    isCalling = false;
    times.sort((a, b) => a - b);
    const at = (share) => round(times[Math.min(times.length - 1, Math.floor(times.length * share))]);
    answer(id, { p50: at(0.5), p99: at(0.99), worst: at(1), lastGoodAt });
  });
}
