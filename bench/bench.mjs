// What a request costs, as ratios in one run: the machine's own speed drops out. Exits with 1 beyond a budget, or with
// --report only says so, for machines that do other work meanwhile.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity } from '@authmesh/sdk/admin';
import { ameshSide, bareSides } from './operations.mjs';
import { middle as middleOf, round, takeTurns } from './turns.mjs';

const results = [];

await benchVerifyAndSign();
await benchFetch();
await countUnlocks();

console.table(results);
const missed = results.filter(({ value, budget }) => !(value <= budget));
for (const { what, value, budget } of missed) console.error(`Over budget: ${what}: ${value} > ${budget}`);
process.exitCode = missed.length === 0 || process.argv.includes('--report') ? 0 : 1;

async function benchVerifyAndSign() {
  const bare = await bareSides();
  for (const [format, verifyBudget, signBudget] of [
    ['authmesh', 1.25, 1.5],
    ['rfc9421', 1.4, 1.6],
  ]) {
    const [verifying, signing] = [
      await ameshSide({ does: 'verify', format }),
      await ameshSide({ does: 'sign', format }),
    ];
    await compare(
      `verify a 1 KiB POST (${format}) / bare node:crypto verify`,
      verifyBudget,
      bare.verify,
      verifying,
    );
    await compare(`sign it (${format}) / bare node:crypto sign`, signBudget, bare.sign, signing);
  }
  // After the others: a verifier that has seen both kinds of requests takes longer for each.
  await compare(
    'verify it with a working key / without',
    1.05,
    await ameshSide({ does: 'verify' }),
    await ameshSide({ does: 'verify', key: 'working' }),
  );
}

/** Lets the two take turns. */
async function compare(what, budget, floor, measured) {
  const [least, found] = await takeTurns([floor, measured]);
  process.stderr.write(`${what}: ${least.us.toFixed(1)} µs, ${found.us.toFixed(1)} µs (medians)\n`);
  results.push({ what, value: round(found.ratio), budget });
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

async function timed(action) {
  const start = performance.now();
  await action();
  return performance.now() - start;
}

function middle(values) {
  return round(middleOf(values));
}
