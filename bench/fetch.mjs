// What amesh.fetch costs over fetch: the CPU time of the calling process for a POST of 1 KiB over loopback, one after the other, and
// beside it fetch after one bare signature, which is the least that any signature can cost. The least of some rounds, since other
// work on the machine only adds. Usage: node bench/fetch.mjs [--rounds 15]
import { fork } from 'node:child_process';
import { createPrivateKey, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity } from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';

const CALLS = 200;
/** V8 compiles what is called often only after some thousand calls. */
const WARM = 10;
/** As many bytes as the text that a signature of such a request covers. */
const MESSAGE = Buffer.alloc(300, 'a');

if (process.argv[2] === '--server') serve();
else await bench();

function serve() {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.end('ok'));
  });
  server.listen(0, '127.0.0.1', () => process.send(server.address().port));
}

async function bench() {
  const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } });
  const dir = mkdtempSync(join(tmpdir(), 'amesh-fetch-'));
  const child = fork(fileURLToPath(import.meta.url), ['--server']);
  try {
    const [port] = await once(child, 'message');
    await createIdentity(dir, {}, { friendlyName: 'bench' });
    const amesh = createAmesh({ dir, env: {} });
    const jwk = await nodeCrypto.generatePrivateKey();
    const key = { key: createPrivateKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' };
    const sides = {
      fetch,
      'fetch after one bare signature': (...args) => {
        sign('sha256', MESSAGE, key);
        return fetch(...args);
      },
      'amesh.fetch': amesh.fetch,
    };
    show(await measure(sides, `http://127.0.0.1:${port}/`, Number(values.rounds)));
  } finally {
    child.kill();
    rmSync(dir, { recursive: true, maxRetries: 20 });
  }
}

async function measure(sides, url, rounds) {
  const least = Object.fromEntries(Object.keys(sides).map((name) => [name, Number.POSITIVE_INFINITY]));
  for (let round = -WARM; round < rounds; round++)
    for (const [name, call] of Object.entries(sides)) {
      const us = await cpuOf(call, url);
      if (round >= 0) least[name] = Math.min(least[name], us);
    }
  return least;
}

async function cpuOf(call, url) {
  const init = { method: 'POST', body: 'x'.repeat(1024) };
  const before = process.cpuUsage();
  for (let i = 0; i < CALLS; i++) await (await call(url, init)).text();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / CALLS;
}

function show(least) {
  const rows = Object.entries(least).map(([name, us]) => [
    name,
    { 'CPU µs': Math.round(us), 'over fetch': Math.round(us - least.fetch) },
  ]);
  console.table(Object.fromEntries(rows));
}
