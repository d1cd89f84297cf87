// What amesh.fetch costs the calling process: the CPU time of a POST of 1 KiB over loopback.
//
// - beside fetch, and beside fetch after one bare signature, which is the least that any signature can cost
// - with a proven answer of 1 KiB, beside the same call without a proof and one bare verification
//
// The bare signature is made before the request, and the bare verification after the answer has come, as amesh does it: in a loop of
// its own either would find everything in the caches of the processor.
//
// Rounds of each kind alternate, so that all see the same load. The least of the rounds, since other work on the machine only adds, and
// the median of their differences. Usage: node bench/fetch.mjs [--rounds 15] [--at-once 1]
import { fork } from 'node:child_process';
import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, openDevice } from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { makeList, middle } from './list-support.mjs';

const CALLS = 200;
/** Rounds before those that count: 6,000 calls of each kind. V8 goes on compiling what is called often for about as long. */
const WARM = 30;
/** As many bytes as the text that a signature of such a request covers. */
const MESSAGE = Buffer.alloc(300, 'a');
const ANSWER = JSON.stringify({ text: 'a'.repeat(1000) });

if (process.argv[2] === '--server') serve(process.argv[3]);
else await bench();

/** Without a folder, a server that takes each request. */
function serve(dir) {
  const unprotected = (request, _response, next) => request.resume().on('end', next);
  const verifying = dir === undefined ? unprotected : createAmesh({ dir, env: {} }).verify();
  const server = createServer((request, response) =>
    verifying(request, response, () => response.setHeader('content-type', 'application/json').end(ANSWER)),
  );
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
}

async function bench() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '15' },
      'at-once': { type: 'string', default: '1' },
    },
  });
  const [rounds, atOnce] = [Number(values.rounds), Number(values['at-once'])];
  const root = mkdtempSync(join(tmpdir(), 'amesh-fetch-'));
  const children = [];
  const start = async (...args) => {
    const child = fork(fileURLToPath(import.meta.url), ['--server', ...args]);
    children.push(child);
    return (await once(child, 'message'))[0];
  };
  try {
    const { dir, callers } = await makeList(root, {}, 2);
    const [plainPort, verifyingPort] = [await start(), await start(dir)];
    await know(callers[0], await openDevice(dir, {}), `127.0.0.1:${verifyingPort}`);
    const { fetch: signed } = createAmesh({ dir: callers[0], env: {} });
    const url = `http://127.0.0.1:${plainPort}/`;
    const provingUrl = `http://127.0.0.1:${verifyingPort}/`;
    const { signBare, verifyBare } = await bareCrypto();
    const sides = {
      fetch: (init) => fetch(url, init),
      'fetch after one bare signature': (init) => {
        signBare();
        return fetch(url, init);
      },
      'amesh.fetch': (init) => signed(url, init),
      'without a proof': (init) => signed(provingUrl, { ...init, answers: 'off' }),
      'without a proof, and one bare verification': async (init) => {
        const answer = await signed(provingUrl, { ...init, answers: 'off' });
        verifyBare();
        return answer;
      },
      'with a proof': (init) => signed(provingUrl, { ...init, answers: 'required' }),
    };
    show(await measure(sides, rounds, atOnce), atOnce);
  } finally {
    for (const child of children) child.kill();
    rmSync(root, { recursive: true, maxRetries: 20 });
  }
}

/** Has a caller know the server as a target. */
async function know(caller, { identity }, host) {
  const { deviceId, publicKey } = identity;
  const device = { deviceId, publicKey, friendlyName: 'target', role: 'target', hosts: [host] };
  const { trust } = await openDevice(caller, {});
  await trust.update((draft) => addDevice(draft, device, Math.floor(Date.now() / 1000)));
}

async function bareCrypto() {
  const jwk = await nodeCrypto.generatePrivateKey();
  const privateKey = { key: createPrivateKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
  const publicKey = { key: createPublicKey(privateKey.key), dsaEncoding: 'ieee-p1363' };
  const signature = sign('sha256', MESSAGE, privateKey);
  return {
    signBare: () => sign('sha256', MESSAGE, privateKey),
    verifyBare: () => verify('sha256', MESSAGE, publicKey, signature),
  };
}

/** @returns the CPU time of a call in µs, by side and round */
async function measure(sides, rounds, atOnce) {
  const times = Object.fromEntries(Object.keys(sides).map((name) => [name, []]));
  for (let round = -WARM; round < rounds; round++) {
    const order = Object.entries(sides);
    for (const [name, call] of round % 2 === 0 ? order : order.toReversed()) {
      const us = await cpuOf(call, atOnce);
      if (round >= 0) times[name].push(us);
    }
  }
  return times;
}

async function cpuOf(call, atOnce) {
  const init = { method: 'POST', body: 'x'.repeat(1024) };
  const before = process.cpuUsage();
  const lanes = Array.from({ length: atOnce }, async () => {
    for (let i = 0; i < CALLS / atOnce; i++) await (await call(init)).text();
  });
  await Promise.all(lanes);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CALLS;
}

function show(times, atOnce) {
  const rows = Object.entries(times).map(([name, list]) => [
    name,
    { 'least, µs': Math.round(Math.min(...list)), 'median, µs': Math.round(middle(list)) },
  ]);
  console.log(`${atOnce} at once:`);
  console.table(Object.fromEntries(rows));
  const beyond = (name, base) => ({
    'least, µs': Math.round(Math.min(...times[name]) - Math.min(...times[base])),
    'median, µs': Math.round(middle(times[name].map((us, i) => us - times[base][i]))),
  });
  console.table({
    'amesh.fetch over fetch': beyond('amesh.fetch', 'fetch'),
    'amesh.fetch over fetch after one bare signature': beyond(
      'amesh.fetch',
      'fetch after one bare signature',
    ),
    'a proof beyond one bare verification': beyond(
      'with a proof',
      'without a proof, and one bare verification',
    ),
  });
}
