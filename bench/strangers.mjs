// What requests from invented devices cost a server, and the caller that it serves meanwhile: 2,000 a second, evenly
// spaced. The server, the caller and the stranger are a process each. Usage:
//   node bench/strangers.mjs [--devices 100000] [--places folder,redis] [--rounds 7] [--seconds 6] [--rate 2000] [--json results.json]
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import { createServer } from 'node:http';
import { syncBuiltinESMExports } from 'node:module';
import { connect } from 'node:net';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause, setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answer, ask, makeList, middle, round, startRedis } from './list-support.mjs';

const SELF = fileURLToPath(import.meta.url);
/** Requests that a refusal of an invented device is compared with, in one process. */
const PER_ROUND = 5000;
/** The good caller's requests a second. */
const CALLS = 100;
const CONNECTIONS = 16;
/** What the stranger sends. The server refuses `bare` itself, without verify(). */
const KINDS = ['nothing', 'bare', 'without a signature', 'invented'];

const ROLES = { '--server': serve, '--caller': call, '--stranger': invent };
await (ROLES[process.argv[2]] ?? report)();

async function report() {
  const { values } = parseArgs({
    options: {
      devices: { type: 'string', default: '100000' },
      places: { type: 'string', default: 'folder,redis' },
      rounds: { type: 'string', default: '7' },
      seconds: { type: 'string', default: '6' },
      rate: { type: 'string', default: '2000' },
      json: { type: 'string' },
    },
  });
  const options = Object.fromEntries(
    ['devices', 'rounds', 'seconds', 'rate'].map((name) => [name, Number(values[name])]),
  );
  const results = {};
  for (const place of values.places.split(',')) results[place] = await measure(place, options);
  if (values.json !== undefined) fs.writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
}

async function measure(place, { devices, rounds, seconds, rate }) {
  const root = fs.mkdtempSync(join(tmpdir(), 'amesh-strangers-'));
  const redis = place === 'redis' ? await startRedis(root) : undefined;
  const env = redis === undefined ? {} : { AMESH_STORE_URL: redis.url };
  const started = [];
  const start = async (role, ...args) => {
    const own = role === '--server' ? env : {};
    const child = fork(SELF, [role, ...args], { env: { ...process.env, ...own } });
    started.push(child);
    const [first] = await once(child, 'message');
    return { first, pid: child.pid, ask: (question) => ask(child, question) };
  };
  try {
    const made = await makeList(root, env, devices);
    const server = await start('--server', made.dir, env.AMESH_STORE_URL ?? '');
    const port = String(server.first);
    const caller = await start('--caller', made.callers[0], port);
    const stranger = await start('--stranger', port, String(rate));
    await caller.ask({ calls: 1 });
    await pause(1500); // after the start, "last seen" is written once
    const costs = await server.ask('costs');
    const found = [];
    for (let i = 0; i < rounds; i++) {
      // In another order each time: the other work on this machine comes and goes.

      for (const kind of [...KINDS.slice(i % KINDS.length), ...KINDS.slice(0, i % KINDS.length)])
        found.push(await oneRound({ server, caller, stranger }, kind, seconds));
    }
    return show(place, devices, costs, found);
  } finally {
    for (const child of started) child.kill('SIGKILL');
    redis?.stop();
    fs.rmSync(root, { recursive: true, maxRetries: 20 });
  }
}

/** The caller calls, and the stranger sends requests of one kind. */
async function oneRound({ server, caller, stranger }, kind, seconds) {
  const [readsBefore, cpuBefore] = [await server.ask('reads'), cpuMs(server.pid)];
  const sending = kind === 'nothing' ? Promise.resolve(0) : stranger.ask({ kind, seconds });
  const called = await caller.ask({ calls: CALLS * seconds });
  const sent = await sending;
  const cpu = cpuMs(server.pid) - cpuBefore;
  const reads = (await server.ask('reads')) - readsBefore;
  return { kind, sent, cpu, reads, load: loadavg()[0], ...called };
}

function show(place, devices, costs, found) {
  const rows = {};
  for (const kind of KINDS) {
    const rounds = found.filter((each) => each.kind === kind);
    const median = (of) => middle(rounds.map(of));
    rows[kind] = {
      'a second': median(({ sent, seconds }) => sent / seconds),
      'p50, ms': median(({ p50 }) => p50),
      'p99, ms': median(({ p99 }) => p99),
      'best p99': round(Math.min(...rounds.map(({ p99 }) => p99))),
      'worst p99': round(Math.max(...rounds.map(({ p99 }) => p99))),
      'server CPU, ms a second': median(({ cpu, seconds }) => cpu / seconds),
      'store reads': rounds.reduce((sum, { reads }) => sum + reads, 0),
      load: median(({ load }) => load),
    };
  }
  const each = (kind) =>
    middle(
      found
        .filter((one) => one.kind === kind)
        .map(
          ({ cpu, sent, seconds }) =>
            ((cpu / seconds - rows.nothing['server CPU, ms a second']) / sent) * seconds * 1000,
        ),
    );
  console.log(`${place}, ${devices} devices`);
  console.table(rows);
  console.log('CPU of the server for a request, µs, with HTTP:', {
    bare: each('bare'),
    'without a signature': each('without a signature'),
    invented: each('invented'),
  });
  console.log('verify() alone, µs:', costs);
  return { rows, costs, found };
}

/** User and system time of a process, in ms. The clock of /proc counts hundredths of a second. */
function cpuMs(pid) {
  const fields = fs
    .readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

async function serve() {
  const [, , , dir, url] = process.argv;
  const opened = countOpened();
  const { createAmesh } = await import('@authmesh/sdk');
  const amesh = createAmesh({ dir });
  const verify = amesh.verify();
  const server = createServer((request, response) => {
    if (request.url === '/bare') response.writeHead(401).end('{"error":"unauthorized"}');
    else verify(request, response, () => response.end('ok'));
  });
  server.keepAliveTimeout = 0; // the stranger pauses
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
  const reads = url === '' ? async () => opened() : await countScripts(url);
  process.on('message', async ({ id, question }) =>
    answer(id, question === 'costs' ? await compare(amesh, server.address().port) : await reads()),
  );
}

/** Counts how often the list and its pages are opened from now on; "last seen" is another file, and written each minute. */
function countOpened() {
  let count = 0;
  for (const [owner, name] of [
    [fs, 'openSync'],
    [fs, 'readFileSync'],
    [fs.promises, 'open'],
    [fs.promises, 'readFile'],
  ]) {
    const own = owner[name];
    owner[name] = (path, ...rest) => {
      if (/\/allow_list\.json$|\/list\/[\w-]{43}$/.test(path)) count++;
      return own(path, ...rest);
    };
  }
  syncBuiltinESMExports();
  return () => count;
}

/** Counts the scripts that a Redis runs: each read of a list is one. */
async function countScripts(url) {
  const { Redis } = await import('ioredis');
  const client = new Redis(url);
  return async () => {
    const info = await client.info('commandstats');
    return [...info.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
  };
}

/** What verify() takes for a request, without HTTP: the median of 9 rounds, in µs. */
async function compare(amesh, port) {
  const { createVerifier } = await import('@authmesh/sdk/core');
  const verifier = amesh.verifier();
  const host = `127.0.0.1:${port}`;
  // As lists were looked up before they had pages: in a Map.
  const plain = createVerifier({ allowList: { deviceId: null, hosts: [host], devices: [] } });
  const view = (headers) => ({
    method: 'GET',
    target: '/',
    authority: host,
    localPort: port,
    headers: { host, ...headers },
    body: new Uint8Array(),
  });
  const kinds = {
    'without a signature': [verifier, () => view({})],
    'invented, in a list without pages': [plain, () => view({ authorization: newHeader() })],
    invented: [verifier, () => view({ authorization: newHeader() })],
  };
  const times = Object.fromEntries(Object.keys(kinds).map((name) => [name, []]));
  for (let i = 0; i < 9; i++) {
    for (const [name, [tested, create]] of Object.entries(kinds)) {
      const views = Array.from({ length: PER_ROUND }, create);
      const startedAt = process.cpuUsage();
      for (const each of views) {
        const { code } = await tested.verify(each);
        if (code !== 'missing_header' && code !== 'unknown_device') throw new Error(`Refused with ${code}.`);
      }
      const { user, system } = process.cpuUsage(startedAt);
      times[name].push((user + system) / PER_ROUND);
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, middle(all)]));
}

/** Calls at a fixed rate, and answers with the times. A request counts from the moment at which it was due. */
async function call() {
  const [, , , dir, port] = process.argv;
  const { createAmesh } = await import('@authmesh/sdk');
  const amesh = createAmesh({ dir });
  const one = async () => {
    const response = await amesh.fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: '{"a":1}' });
    await response.text();
    if (!response.ok) throw new Error(`A good request was refused: ${response.status}.`);
  };
  process.send('ready');
  process.on('message', async ({ id, question: { calls } }) => {
    const times = [];
    const startedAt = performance.now();
    for (let i = 0; i < calls; i++) {
      await pause(startedAt + (1000 / CALLS) * i - performance.now());
      const sentAt = performance.now();
      await one();
      times.push(performance.now() - sentAt);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    times.sort((a, b) => a - b);
    const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))];
    answer(id, { p50: at(0.5), p99: at(0.99), seconds });
  });
}

/** Sends requests at a fixed rate, evenly spaced, over a few connections. */
async function invent() {
  const [, , , port, rate] = process.argv;
  let refused = 0;
  const sockets = await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const socket = connect({ port: Number(port), host: '127.0.0.1', noDelay: true });
      socket.on('data', (chunk) => {
        refused += chunk.toString('latin1').split('HTTP/1.1 401').length - 1;
      });
      await once(socket, 'connect');
      return socket;
    }),
  );
  const requestOf = (kind) =>
    `GET ${kind === 'bare' ? '/bare' : '/'} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\n${kind === 'without a signature' ? '' : `authorization: ${newHeader()}\r\n`}\r\n`;
  const clock = new Int32Array(new SharedArrayBuffer(4));
  process.send('ready');
  process.on('message', async ({ id, question: { kind, seconds } }) => {
    const startedAt = performance.now();
    const endsAt = startedAt + 1000 * seconds;
    let sent = 0;
    refused = 0;
    for (let now = startedAt; now < endsAt; now = performance.now()) {
      const dueAt = startedAt + (1000 / rate) * sent;
      // Timers count whole milliseconds, and this has to be finer.
      if (dueAt > now) Atomics.wait(clock, 0, 0, Math.min(dueAt - now, 1));
      else sockets[sent++ % CONNECTIONS].write(requestOf(kind));
      await turn();
    }
    while (refused < sent && performance.now() < endsAt + 5000) await pause(10);
    if (refused !== sent) throw new Error(`${sent} requests, but ${refused} refusals.`);
    answer(id, sent);
  });
}

/** The header of a device that nobody has. */
function newHeader() {
  const id = `am_${randomBytes(12).toString('base64url')}`;
  const nonce = randomBytes(16).toString('base64url');
  const seconds = Math.floor(Date.now() / 1000);
  return `AuthMesh v="2",id="${id}",ts="${seconds}",nonce="${nonce}",sig="${randomBytes(64).toString('base64url')}"`;
}
