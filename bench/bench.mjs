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
import { Bench } from 'tinybench';

const ROUNDS = 9;
const PER_ROUND = 2000;
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

  const ratios = { verify: [], sign: [] };
  for (let round = 0; round < ROUNDS; round++) {
    const requests = [];
    for (let i = 0; i < PER_ROUND * 2; i++) requests.push(await signRequest(view, signer));
    const verifier = createVerifier({ allowList, nonceStore: new InMemoryNonceStore({ startedAt: 0 }) });
    let next = 0;
    const bench = new Bench({
      time: 0,
      iterations: PER_ROUND,
      warmup: true,
      warmupTime: 0,
      warmupIterations: PER_ROUND - 1,
    });
    bench.add('bare verify', () => {
      if (!verify('sha256', message, bareKey, signature)) throw new Error('bare verify failed');
    });
    bench.add('amesh verify', async () => {
      const verdict = await verifier.verify(requests[next++ % requests.length]);
      if (!verdict.ok) throw new Error(verdict.code);
    });
    bench.add('bare sign', () => sign('sha256', message, privateKey));
    bench.add('amesh sign', () => signRequest(view, signer));
    await bench.run();
    const median = Object.fromEntries(bench.tasks.map((task) => [task.name, medianOf(task)]));
    ratios.verify.push(median['amesh verify'] / median['bare verify']);
    ratios.sign.push(median['amesh sign'] / median['bare sign']);
    process.stderr.write(
      `round ${round + 1}: bare verify ${us(median['bare verify'])}, amesh ${us(median['amesh verify'])}; bare sign ${us(median['bare sign'])}, amesh ${us(median['amesh sign'])}\n`,
    );
  }
  results.push({
    what: 'verify a 1 KiB POST / bare node:crypto verify',
    value: middle(ratios.verify),
    budget: 1.25,
  });
  results.push({ what: 'sign it / bare node:crypto sign', value: middle(ratios.sign), budget: 1.5 });
  await benchWorkingKey({ signer, view, allowList });
}

/** After the others: a verifier that has seen both kinds of requests takes longer for each. */
async function benchWorkingKey({ signer, view, allowList }) {
  const working = withWorkingKey(signer);
  const ratios = [];
  for (let round = 0; round < ROUNDS; round++) {
    const verifier = createVerifier({ allowList, nonceStore: new InMemoryNonceStore({ startedAt: 0 }) });
    const bench = new Bench({
      time: 0,
      iterations: PER_ROUND,
      warmup: true,
      warmupTime: 0,
      warmupIterations: PER_ROUND - 1,
    });
    for (const [name, by] of Object.entries({ without: signer, with: working })) {
      const requests = [];
      for (let i = 0; i < PER_ROUND * 2; i++) requests.push(await signRequest(view, by));
      let next = 0;
      bench.add(name, async () => {
        const verdict = await verifier.verify(requests[next++ % requests.length]);
        if (!verdict.ok) throw new Error(verdict.code);
      });
    }
    await bench.run();
    const median = Object.fromEntries(bench.tasks.map((task) => [task.name, medianOf(task)]));
    ratios.push(median.with / median.without);
  }
  results.push({ what: 'verify it with a working key / without', value: middle(ratios), budget: 1.05 });
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

function medianOf(task) {
  if (task.result.error) throw task.result.error;
  return task.result.latency.p50;
}

function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return round(sorted[Math.floor(sorted.length / 2)]);
}

function round(value) {
  return Math.round(value * 1000) / 1000;
}

function us(ms) {
  return `${(ms * 1000).toFixed(1)} µs`;
}
