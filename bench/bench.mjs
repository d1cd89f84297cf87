// What a request costs, as ratios in one run: the machine's own speed drops out. Exits with 1 beyond a budget, or with
// --report only says so, for machines that do other work meanwhile.
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity } from '@authmesh/sdk/admin';
import {
  createVerifier,
  InMemoryNonceStore,
  signRequest,
  toBase64Url,
  withWorkingKey,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';

/** The two of a ratio take turns: what else the machine does slows both down. */
const TURNS = 320;
const PER_TURN = 50;
/** A verifier is replaced by a new one after so many. */
const PER_VERIFIER = 40 * PER_TURN;
const results = [];

await benchVerifyAndSign();
await benchFetch();
await countUnlocks();

console.table(results);
const missed = results.filter(({ value, budget }) => !(value <= budget));
for (const { what, value, budget } of missed) console.error(`Over budget: ${what}: ${value} > ${budget}`);
process.exitCode = missed.length === 0 || process.argv.includes('--report') ? 0 : 1;

async function benchVerifyAndSign() {
  const jwk = await nodeCrypto.generatePrivateKey();
  const signer = await nodeCrypto.importPrivateKey(jwk);
  const publicKey = toBase64Url(signer.publicKey);
  const privateKey = createPrivateKey({ key: jwk, format: 'jwk' });
  const bareKey = createPublicKey(privateKey);
  const body = new Uint8Array(1024).fill(0x61);
  const view = {
    method: 'POST',
    target: '/api/orders?b=2&a=1',
    authority: 'api.example.com',
    headers: {
      host: 'api.example.com',
      'user-agent': 'bench',
      accept: '*/*',
      'content-type': 'application/json',
      'content-length': '1024',
    },
    body,
  };
  const deviceId = `am_${(await sha256Text(signer.publicKey)).slice(0, 16)}`;
  const allowList = {
    deviceId: null,
    hosts: ['api.example.com'],
    devices: [{ deviceId, publicKey, friendlyName: 'bench', roles: ['controller'] }],
  };

  // The floor: one native verify of a message as long as a signature base, with everything at hand.
  const message = Buffer.alloc(420, 0x61);
  const signature = sign('sha256', message, privateKey);

  await compare({
    what: 'verify a 1 KiB POST / bare node:crypto verify',
    budget: 1.25,
    floor: () => {
      if (!verify('sha256', message, bareKey, signature)) throw new Error('bare verify failed');
    },
    measured: verifying(allowList, () => signRequest(view, signer)),
  });
  await compare({
    what: 'sign it / bare node:crypto sign',
    budget: 1.5,
    floor: () => sign('sha256', message, privateKey),
    measured: { run: () => signRequest(view, signer) },
  });
  // After the others: a verifier that has seen both kinds of requests takes longer for each.
  const working = withWorkingKey(signer);
  await compare({
    what: 'verify it with a working key / without',
    budget: 1.05,
    floor: verifying(allowList, () => signRequest(view, signer)),
    measured: verifying(allowList, () => signRequest(view, working)),
  });
}

/** Verifies requests that were signed before the turn. */
function verifying(allowList, signOne) {
  let requests = [];
  let left = 0;
  let verifier;
  return {
    async prepare() {
      if (left === 0) {
        verifier = createVerifier({ allowList, nonceStore: new InMemoryNonceStore({ startedAt: 0 }) });
        left = PER_VERIFIER;
      }
      left -= PER_TURN;
      requests = [];
      for (let i = 0; i < PER_TURN; i++) requests.push(await signOne());
    },
    async run(at) {
      const verdict = await verifier.verify(requests[at]);
      if (!verdict.ok) throw new Error(verdict.code);
    },
  };
}

/** The median of the ratios of all turns but the first ones, in which the code gets warm. */
async function compare({ what, budget, floor, measured }) {
  const sides = [floor, measured].map((side) => (typeof side === 'function' ? { run: side } : side));
  const turns = [];
  for (let turn = 0; turn < TURNS; turn++) {
    for (const { prepare } of sides) await prepare?.();
    const times = [];
    // Who is first takes turns, too: it may find a cold cache.
    for (const side of turn % 2 === 0 ? [0, 1] : [1, 0]) times[side] = await undisturbed(sides[side].run);
    turns.push({ floorMs: times[0], ms: times[1], ratio: times[1] / times[0] });
  }
  const warm = turns.slice(TURNS / 8);
  const value = middle(warm.map(({ ratio }) => ratio));
  const [floorMs, ms] = [warm.map(({ floorMs }) => floorMs), warm.map(({ ms }) => ms)].map(middleOf);
  process.stderr.write(`${what}: ${us(ms)} / ${us(floorMs)} (medians)\n`);
  results.push({ what, value, budget });
}

/** The lower quartile of a turn, in ms: after others have had the core, its caches are cold for a while. */
async function undisturbed(run) {
  const times = [];
  for (let i = 0; i < PER_TURN; i++) {
    const start = performance.now();
    const running = run(i);
    if (running instanceof Promise) await running;
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[PER_TURN >> 2];
}

async function benchFetch() {
  const dir = mkdtempSync(join(tmpdir(), 'amesh-bench-'));
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.end('ok'));
  });
  try {
    await createIdentity(dir, {}, { friendlyName: 'bench' });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${server.address().port}/`;
    const amesh = createAmesh({ dir });
    const init = { method: 'POST', body: 'x'.repeat(1024) };
    const times = { plain: [], signed: [] };
    for (let i = 0; i < 2000; i++) {
      times.plain.push(await timed(async () => (await fetch(url, init)).text()));
      times.signed.push(await timed(async () => (await amesh.fetch(url, init)).text()));
    }
    const warm = (list) => middle(list.slice(500));
    const added = warm(times.signed) - warm(times.plain);
    process.stderr.write(`fetch ${warm(times.plain)} ms, amesh.fetch ${warm(times.signed)} ms (median)\n`);
    results.push({
      what: 'ms that amesh.fetch adds to fetch on loopback (median)',
      value: round(added),
      budget: 1,
    });
  } finally {
    server.close();
    server.closeAllConnections();
    rmSync(dir, { recursive: true, maxRetries: 20 });
  }
}

/** How often the private key is opened by a process that sends a hundred requests at once. */
async function countUnlocks() {
  const dir = mkdtempSync(join(tmpdir(), 'amesh-bench-'));
  try {
    await createIdentity(dir, {}, { friendlyName: 'bench' });
    // An instance looks for the passphrase once when it is made, and again at each opening of the key.
    const looksFor = async (requests) => {
      let looks = 0;
      const env = new Proxy(
        {},
        { get: (_, name) => (name === 'AUTH_MESH_PASSPHRASE' ? void looks++ : undefined) },
      );
      const amesh = createAmesh({ dir, env, fetch: async () => new Response('ok') });
      await Promise.all(Array.from({ length: requests }, () => amesh.fetch('http://localhost:1/')));
      return looks;
    };
    const opened = 1 + (await looksFor(100)) - (await looksFor(1));
    results.push({ what: 'key unlocks for 100 requests', value: opened, budget: 1 });
  } finally {
    rmSync(dir, { recursive: true, maxRetries: 20 });
  }
}

async function sha256Text(bytes) {
  return toBase64Url(await nodeCrypto.sha256(bytes));
}

async function timed(action) {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

function middle(values) {
  return round(middleOf(values));
}

function middleOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function round(value) {
  return Math.round(value * 1000) / 1000;
}

function us(ms) {
  return `${(ms * 1000).toFixed(1)} µs`;
}
