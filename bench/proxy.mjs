// What `amesh proxy --protect` costs: the CPU time of its process for a request, as a ratio to the ideal, which is a bare proxy
// over node:http and one check of a request. The server behind, each proxy and the load are processes of their own. Usage:
//   node bench/proxy.mjs [--rounds 15] [--requests 400] [--json results.json]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answer, ask, makeList, middle, round } from './list-support.mjs';
import { BODY, Load, prepare } from './servers-load.mjs';

const SELF = fileURLToPath(import.meta.url);
const CLI = fileURLToPath(new URL('../src/cli/bin/amesh.mjs', import.meta.url));
const CONNECTIONS = 16;
/** Rounds that warm up. */
const WARM = 6;
/** The least share of the ideal. */
const GOAL = 0.85;

/** Tells the CPU time of the process in which it is loaded. */
const PROBE = `data:text/javascript,${encodeURIComponent(`
let before = process.cpuUsage();
process.on('message', ({ id, question }) => {
  const { user, system } = process.cpuUsage(before);
  if (question === 'start') before = process.cpuUsage();
  process.send({ id, value: user + system });
});
process.channel.unref();
`)}`;

const ROLES = { '--server': serve, '--bare': bare, '--load': load, '--check': check };
await (ROLES[process.argv[2]] ?? bench)();

async function bench() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '15' },
      requests: { type: 'string', default: '400' },
      json: { type: 'string' },
    },
  });
  const root = mkdtempSync(join(tmpdir(), 'amesh-proxy-bench-'));
  try {
    const { dir, callers } = await makeList(root, {}, 2);
    const times = await measure(
      { dir, caller: callers[0], root },
      Number(values.rounds),
      Number(values.requests),
    );
    show(times);
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(times, null, 2)}\n`);
  } finally {
    rmSync(root, { recursive: true, maxRetries: 20 });
  }
}

/** The CPU time of a request in µs, by variant and round. */
async function measure({ dir, caller, root }, rounds, count) {
  const started = [];
  const start = async (role, given) => {
    const child = fork(SELF, [role, JSON.stringify(given)]);
    started.push(child);
    const [first] = await once(child, 'message');
    return { child, first };
  };
  try {
    const { first: port } = await start('--server', {});
    const sender = (await start('--load', { caller })).child;
    const bareProxy = await start('--bare', { port });
    const verifying = await start('--bare', { port, dir });
    const amesh = await startAmesh(started, { dir, port, root });
    const checker = await start('--check', { dir, caller });
    const proxies = {
      'bare proxy': bareProxy,
      'bare proxy, verify()': verifying,
      'amesh proxy': amesh,
    };
    for (const [name, { first: open }] of Object.entries(proxies))
      await ask(sender, { open: name, port: open, connections: CONNECTIONS });
    const times = Object.fromEntries([...Object.keys(proxies), 'one check'].map((name) => [name, []]));
    for (let i = 0; i < rounds + WARM; i++) {
      const names = Object.keys(proxies);
      for (const name of i % 2 === 0 ? names : names.toReversed()) {
        await ask(sender, { prepare: name, count });
        await ask(proxies[name].child, 'start');
        await ask(sender, { send: name });
        const us = (await ask(proxies[name].child, 'stop')) / count;
        if (i >= WARM) times[name].push(us);
      }
      const us = (await ask(checker.child, count)) / count;
      if (i >= WARM) times['one check'].push(us);
    }
    return times;
  } finally {
    for (const child of started) child.kill('SIGKILL');
  }
}

async function startAmesh(started, { dir, port, root }) {
  const args = ['proxy', '--protect', `http://127.0.0.1:${port}`, '--listen', '127.0.0.1:0'];
  const child = fork(CLI, [...args, '--spool', join(root, 'spool')], {
    execArgv: ['--import', PROBE],
    env: { ...process.env, AUTH_MESH_DIR: dir },
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  started.push(child);
  const [line] = await once(child.stderr, 'data');
  child.stderr.pipe(process.stderr);
  return { child, first: Number(/ 127\.0\.0\.1:(\d+)/.exec(String(line))[1]) };
}

function show(times) {
  const us = (name) => middle(times[name]);
  // Of each round, since the load of the machine changes.
  const share = (idealOf) =>
    Math.round(1000 * median(times['amesh proxy'].map((each, i) => idealOf(i) / each))) / 10;
  const sum = (i) => times['bare proxy'][i] + times['one check'][i];
  console.table({
    'bare proxy': { 'CPU, µs': us('bare proxy') },
    'one check': { 'CPU, µs': us('one check') },
    'bare proxy, verify()': { 'CPU, µs': us('bare proxy, verify()') },
    'amesh proxy': {
      'CPU, µs': us('amesh proxy'),
      'of bare proxy + one check, %': share(sum),
      'of bare proxy with verify(), %': share((i) => times['bare proxy, verify()'][i]),
      'goal, %': 100 * GOAL,
    },
  });
  console.log(
    `The load and the server behind are not counted. ${round(us('amesh proxy'))} µs for a POST of 1 KiB.`,
  );
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

async function serve() {
  const server = createServer((incoming, response) => {
    incoming.resume();
    incoming.on('end', () => response.setHeader('content-type', 'application/json').end(BODY));
  });
  process.send(await listen(server));
}

/** The proxy that one would write in ten lines. */
async function bare() {
  const { port, dir } = JSON.parse(process.argv[3]);
  const agent = new Agent({ keepAlive: true });
  const pass = ({ method, url, headers }, incoming, response) => {
    const sent = request({ host: '127.0.0.1', port, method, path: url, headers, agent }, (answered) => {
      response.writeHead(answered.statusCode, answered.headers);
      answered.pipe(response);
    });
    incoming.pipe(sent);
  };
  let verify = (_incoming, _response, next) => next();
  if (dir !== undefined) {
    const { createAmesh } = await import('@authmesh/sdk');
    verify = createAmesh({ dir, env: {} }).verify();
  }
  const server = createServer((incoming, response) =>
    verify(incoming, response, () => pass(incoming, incoming, response)),
  );
  process.send(await listen(server));
  let before = process.cpuUsage();
  process.on('message', ({ id, question }) => {
    const { user, system } = process.cpuUsage(before);
    if (question === 'start') before = process.cpuUsage();
    answer(id, user + system);
  });
}

async function listen(server) {
  server.keepAliveTimeout = 120_000; // longer than the load needs to sign
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/** Verifies as many requests as it is asked, and tells the CPU time of that in µs. */
async function check() {
  const { dir, caller } = JSON.parse(process.argv[3]);
  const { createAmesh } = await import('@authmesh/sdk');
  const { openDevice } = await import('@authmesh/sdk/admin');
  const { signRequest } = await import('@authmesh/sdk/core');
  const { signer } = await openDevice(caller, {});
  const verifier = createAmesh({ dir, env: {}, hosts: ['api.example.com'] }).verifier();
  const view = {
    method: 'POST',
    target: '/orders?b=2&a=1',
    authority: 'api.example.com',
    headers: { 'content-type': 'application/json', 'content-length': String(BODY.length) },
    body: BODY,
  };
  process.send('ready');
  process.on('message', async ({ id, question: count }) => {
    const views = [];
    for (let i = 0; i < count; i++) views.push(await signRequest(view, signer));
    const before = process.cpuUsage();
    for (const each of views) if (!(await verifier.verify(each)).ok) throw new Error('refused');
    const { user, system } = process.cpuUsage(before);
    answer(id, user + system);
  });
}

async function load() {
  const { openDevice } = await import('@authmesh/sdk/admin');
  const { signer } = await openDevice(JSON.parse(process.argv[3]).caller, {});
  process.send('ready');
  const loads = {};
  const ports = {};
  let requests = [];
  process.on('message', async ({ id, question }) => {
    const { open, port, connections, prepare: prepared, send, count } = question;
    if (open !== undefined) {
      loads[open] = await Load.open(port, connections);
      ports[open] = port;
    } else if (prepared !== undefined) requests = await prepare({ port: ports[prepared], signer, count });
    else await loads[send].send(requests, { status: 200 });
    answer(id, null);
  });
}
