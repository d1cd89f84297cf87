// What `amesh proxy` costs: the CPU time of its process for a request, as a ratio to the ideal. Of --protect, that is a bare proxy over
// node:http with verify() in it; of --to, one that signs a text by one crypto.sign(). The server behind, each proxy and the load are
// processes of their own. Usage:
//   node bench/proxy.mjs [--rounds 40] [--warm 40] [--requests 250] [--json results.json]
// The rounds that warm up do not count: V8 makes code fast that has run some thousand times.
import { fork } from 'node:child_process';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answer, ask, makeList, middle } from './list-support.mjs';
import { BODY, Load, prepare } from './servers-load.mjs';

const SELF = fileURLToPath(import.meta.url);
const CLI = fileURLToPath(new URL('../src/cli/bin/amesh.mjs', import.meta.url));
const CONNECTIONS = 16;
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

/** The sides of `amesh proxy`: what is sent through it, and which of the proxies is its ideal. */
const SIDES = {
  protect: { isSigned: true, ideal: 'bare proxy, verify()', amesh: 'amesh proxy --protect' },
  to: { isSigned: false, ideal: 'bare proxy, crypto.sign()', amesh: 'amesh proxy --to' },
};
const KINDS = ['POST of 1 KiB', 'GET'];

const ROLES = { '--server': serve, '--bare': bare, '--load': load, '--check': check };
await (ROLES[process.argv[2]] ?? bench)();

async function bench() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '40' },
      warm: { type: 'string', default: '40' },
      requests: { type: 'string', default: '250' },
      json: { type: 'string' },
    },
  });
  const root = mkdtempSync(join(tmpdir(), 'amesh-proxy-bench-'));
  try {
    const { dir, callers } = await makeList(root, {}, 2);
    const found = {};
    for (const side of Object.keys(SIDES))
      for (const kind of KINDS) {
        const place = { side, kind, dir, caller: callers[0], root };
        const { rounds, warm, requests: count } = values;
        const times = await measure(place, {
          rounds: Number(rounds),
          warm: Number(warm),
          count: Number(count),
        });
        found[`--${side}, ${kind}`] = times;
        show(side, kind, times);
      }
    console.log('The load and the server behind are not counted.');
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(found, null, 2)}\n`);
  } finally {
    rmSync(root, { recursive: true, maxRetries: 20 });
  }
}

/** The CPU time of a request in µs, by variant and round. */
async function measure({ side, kind, dir, caller, root }, { rounds, warm, count }) {
  const { isSigned, ideal, amesh } = SIDES[side];
  const method = kind === 'GET' ? 'GET' : 'POST';
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
    const proxies = {
      'bare proxy': await start('--bare', { port }),
      [ideal]: await start('--bare', side === 'protect' ? { port, dir } : { port, signs: true }),
      [amesh]: await startAmesh(started, { side, dir, caller, port, root }),
    };
    const checker = side === 'protect' ? await start('--check', { dir, caller, method }) : undefined;
    for (const [name, { first: open }] of Object.entries(proxies))
      await ask(sender, { open: name, port: open, connections: CONNECTIONS });
    const times = Object.fromEntries([...Object.keys(proxies), 'one check'].map((name) => [name, []]));
    for (let i = 0; i < rounds + warm; i++) {
      const names = Object.keys(proxies);
      for (const name of i % 2 === 0 ? names : names.toReversed()) {
        await ask(sender, { prepare: name, count, method, isSigned });
        await ask(proxies[name].child, 'start');
        await ask(sender, { send: name });
        const us = (await ask(proxies[name].child, 'stop')) / count;
        if (i >= warm) times[name].push(us);
      }
      if (checker === undefined) continue;
      const us = (await ask(checker.child, count)) / count;
      if (i >= warm) times['one check'].push(us);
    }
    return times;
  } finally {
    for (const child of started) child.kill('SIGKILL');
  }
}

async function startAmesh(started, { side, dir, caller, port, root }) {
  const where = side === 'protect' ? ['--protect'] : ['--answers', 'off', '--to'];
  if (side === 'to') await trustTarget(caller, port);
  const args = ['proxy', ...where, `http://127.0.0.1:${port}`, '--listen', '127.0.0.1:0'];
  const child = fork(CLI, [...args, '--spool', join(root, 'spool')], {
    execArgv: ['--import', PROBE],
    env: { ...process.env, AUTH_MESH_DIR: side === 'protect' ? dir : caller },
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  });
  started.push(child);
  const [line] = await once(child.stderr, 'data');
  child.stderr.pipe(process.stderr);
  return { child, first: Number(/ 127\.0\.0\.1:(\d+)/.exec(String(line))[1]) };
}

/** Has a caller know the server behind as a target. */
async function trustTarget(caller, port) {
  const { addDevice, openDevice } = await import('@authmesh/sdk/admin');
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x, y } = publicKey.export({ format: 'jwk' });
  const point = Buffer.concat([
    Buffer.from([2 + (Buffer.from(y, 'base64url')[31] % 2)]),
    Buffer.from(x, 'base64url'),
  ]);
  const deviceId = `am_${createHash('sha256').update(point).digest('base64url').slice(0, 16)}`;
  const hosts = [`127.0.0.1:${port}`];
  const device = {
    deviceId,
    publicKey: point.toString('base64url'),
    friendlyName: `server-${port}`,
    role: 'target',
    hosts,
  };
  const { trust } = await openDevice(caller, {});
  await trust.update((draft) => addDevice(draft, device, Math.floor(Date.now() / 1000)));
}

function show(side, kind, times) {
  const { ideal, amesh } = SIDES[side];
  // Of each round, since the load of the machine changes.
  const share = (idealOf) => Math.round(1000 * median(times[amesh].map((each, i) => idealOf(i) / each))) / 10;
  const rows = Object.fromEntries(
    Object.entries(times)
      .filter(([, each]) => each.length > 0)
      .map(([name, each]) => [name, { 'CPU, µs': middle(each) }]),
  );
  rows[amesh]['of the ideal, %'] = share((i) => times[ideal][i]);
  rows[amesh]['goal, %'] = 100 * GOAL;
  if (side === 'protect')
    rows[amesh]['of bare proxy + one check, %'] = share(
      (i) => times['bare proxy'][i] + times['one check'][i],
    );
  console.log(`${amesh}, ${kind}. The ideal: ${ideal}.`);
  console.table(rows);
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
  const { port, dir, signs } = JSON.parse(process.argv[3]);
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
  if (signs) verify = signer();
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

/** What signing costs at least: one signature over a text of usual length, and a header for it. */
function signer() {
  const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return (incoming, _response, next) => {
    const nonce = randomBytes(16).toString('base64url');
    const text = `${incoming.method}\n${incoming.url}\n${nonce}\n${'x'.repeat(300)}`;
    const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
    incoming.headers.authorization = `AuthMesh nonce="${nonce}",sig="${signature.toString('base64url')}"`;
    next();
  };
}

async function listen(server) {
  server.keepAliveTimeout = 120_000; // longer than the load needs to sign
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

/** Verifies as many requests as it is asked, and tells the CPU time of that in µs. */
async function check() {
  const { dir, caller, method } = JSON.parse(process.argv[3]);
  const { createAmesh } = await import('@authmesh/sdk');
  const { openDevice } = await import('@authmesh/sdk/admin');
  const { signRequest } = await import('@authmesh/sdk/core');
  const { signer } = await openDevice(caller, {});
  const verifier = createAmesh({ dir, env: {}, hosts: ['api.example.com'] }).verifier();
  const hasBody = method === 'POST';
  const view = {
    method,
    target: '/orders?b=2&a=1',
    authority: 'api.example.com',
    headers: hasBody ? { 'content-type': 'application/json', 'content-length': String(BODY.length) } : {},
    body: hasBody ? BODY : null,
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
    const { open, port, connections, prepare: prepared, send, ...how } = question;
    if (open !== undefined) {
      loads[open] = await Load.open(port, connections);
      ports[open] = port;
    } else if (prepared !== undefined) requests = await prepare({ port: ports[prepared], signer, ...how });
    else await loads[send].send(requests, { status: 200 });
    answer(id, null);
  });
}
