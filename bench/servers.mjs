// What amesh costs a live server: the CPU time of its process for a request, as a ratio to the ideal, which is the same server
// with one bare signature check in the same place. Each server is a process of its own, and the load is another one. Usage:
//   node bench/servers.mjs [--servers 'node:http,Express 5'] [--connections 16] [--rounds 15] [--requests 300] [--form rfc9421]
//     [--json results.json]
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answer, ask, makeList, middle, round } from './list-support.mjs';

const SELF = fileURLToPath(import.meta.url);
/** Rounds that warm up: V8 has compiled all that is called often only after some ten thousand requests. */
const WARM = 40;

/** What each variant runs, and what the load asks for. */
const VARIANTS = {
  unprotected: { protection: 'none', isSigned: false },
  ideal: { protection: 'ideal' },
  // It reads the AuthMesh header alone.
  'by hand': { protection: 'by hand', format: 'authmesh' },
  amesh: { protection: 'amesh' },
  'ideal + sign': { protection: 'ideal + sign', asksForProof: true },
  'amesh, proven': { protection: 'amesh', asksForProof: true },
};

/** The least share of the ideal that amesh reaches. */
const GOALS = { 'node:http': 0.82, 'Express 5': 0.86, 'Fastify 5': 0.85, 'Hono on Node': 0.85 };

/** Of a public key of P-256 in the form SubjectPublicKeyInfo, with a compressed point (RFC 5480 section 2). */
const BEFORE_POINT = Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex');

const ROLES = { '--server': serve, '--load': load };
await (ROLES[process.argv[2]] ?? bench)();

async function bench() {
  const { values } = parseArgs({
    options: {
      connections: { type: 'string', default: '16' },
      servers: { type: 'string', default: Object.keys(GOALS).join(',') },
      rounds: { type: 'string', default: '15' },
      requests: { type: 'string', default: '300' },
      form: { type: 'string', default: 'authmesh' },
      json: { type: 'string' },
    },
  });
  const root = mkdtempSync(join(tmpdir(), 'amesh-servers-'));
  const results = {};
  try {
    const { dir, callers } = await makeList(root, {}, 2);
    for (const framework of values.servers.split(',')) {
      const connections = Number(values.connections);
      const settings = { framework, dir, caller: callers[0], format: values.form, connections };
      results[framework] = await measure(settings, Number(values.rounds), Number(values.requests));
      show(framework, results[framework]);
    }
  } finally {
    rmSync(root, { recursive: true, maxRetries: 20 });
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
}

/** The CPU time of a request in µs, and the time of the slowest in a hundred in ms, by variant and round. */
async function measure({ framework, dir, caller, format, connections }, rounds, count) {
  const started = [];
  const start = async (role, given) => {
    const child = fork(SELF, [role, JSON.stringify(given)]);
    started.push(child);
    const [first] = await once(child, 'message');
    return { first, ask: (question) => ask(child, question) };
  };
  try {
    const sender = await start('--load', { caller });
    const servers = {};
    for (const [name, { protection }] of Object.entries(VARIANTS)) {
      const server = await start('--server', { framework, protection, dir, ...sender.first });
      servers[name] = server;
      await sender.ask({ open: name, port: server.first, connections });
    }
    const names = Object.keys(VARIANTS);
    const [times, p99] = [0, 1].map(() => Object.fromEntries(names.map((name) => [name, []])));
    for (let i = 0; i < rounds + WARM; i++) {
      for (const name of i % 2 === 0 ? names : names.toReversed()) {
        const { isSigned, asksForProof, format: own = format } = VARIANTS[name];
        await sender.ask({ prepare: name, count, isSigned, asksForProof, format: own });
        await servers[name].ask('start');
        const expected = { status: 200, isProven: name === 'amesh, proven' };
        const slow = await sender.ask({ send: name, expected });
        const us = (await servers[name].ask('stop')) / count;
        if (i < WARM) continue;
        times[name].push(us);
        p99[name].push(slow);
      }
    }
    return { times, p99 };
  } finally {
    for (const child of started) child.kill('SIGKILL');
  }
}

function show(framework, { times, p99 }) {
  const us = (name) => middle(times[name]);
  // Of each round, since the load of the machine changes.
  const share = (ideal, name) =>
    Math.round(1000 * median(times[name].map((each, i) => times[ideal][i] / each))) / 10;
  const rows = {
    unprotected: { 'CPU, µs': us('unprotected') },
    ideal: { 'CPU, µs': us('ideal') },
    'by hand': { 'CPU, µs': us('by hand'), 'of the ideal, %': share('ideal', 'by hand') },
    amesh: {
      'CPU, µs': us('amesh'),
      'of the ideal, %': share('ideal', 'amesh'),
      'goal, %': 100 * GOALS[framework],
    },
    'ideal + sign': { 'CPU, µs': us('ideal + sign') },
    'amesh, proven': {
      'CPU, µs': us('amesh, proven'),
      'of the ideal, %': share('ideal + sign', 'amesh, proven'),
      'goal, %': 100 * GOALS[framework],
    },
  };
  console.log(framework);
  console.table(rows);
  const sign = (i) => times['ideal + sign'][i] - times.ideal[i];
  const beyond = times.amesh.map((each, i) => times['amesh, proven'][i] - each - sign(i));
  console.log(`A proof beyond one bare signature: ${round(median(beyond))} µs`);
  const slower = (name, ideal) => round(median(p99[name].map((each, i) => each / p99[ideal][i])));
  console.log(
    `p99: ${round(median(p99.amesh))} ms, ${slower('amesh', 'ideal')} × the ideal; proven ${slower('amesh, proven', 'ideal + sign')} ×`,
  );
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

async function serve() {
  const { startApp } = await import('./servers-apps.mjs');
  process.send(await startApp(JSON.parse(process.argv[3])));
  let before = process.cpuUsage();
  process.on('message', ({ id, question }) => {
    const { user, system } = process.cpuUsage(before);
    if (question === 'start') before = process.cpuUsage();
    answer(id, user + system);
  });
}

async function load() {
  const { openDevice } = await import('@authmesh/sdk/admin');
  const { Load, prepare } = await import('./servers-load.mjs');
  const { caller } = JSON.parse(process.argv[3]);
  const { signer } = await openDevice(caller, {});
  const { nodeCrypto } = await import('@authmesh/sdk/crypto/node');
  const publicKey = Buffer.concat([BEFORE_POINT, signer.publicKey]).toString('base64');
  process.send({ jwk: await nodeCrypto.generatePrivateKey(), publicKey });
  const loads = {};
  const ports = {};
  let requests = [];
  process.on('message', async ({ id, question }) => {
    const { open, port, connections, prepare: prepared, send, expected, ...rest } = question;
    if (open !== undefined) {
      loads[open] = await Load.open(port, connections);
      ports[open] = port;
    } else if (send === undefined) requests = await prepare({ port: ports[prepared], signer, ...rest });
    answer(id, send && (await loads[send].send(requests, expected)).at(Math.floor(0.99 * requests.length)));
  });
}
