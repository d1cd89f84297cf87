// A million live nonces: what they take, the longest claim, and what happens to a live one when there is no room. Beside a
// Map with a purge and lru-cache, each in a process of its own. Exits with 1 beyond the budget, or with --report says so.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { InMemoryNonceStore } from '@authmesh/sdk/core';
import { LRUCache } from 'lru-cache';

const COUNT = 1_000_000;
const BUDGET = { bytes: 64, pauseMs: 20 };
const DEVICES = Array.from({ length: 10 }, (_, i) => `am_${String(i).padStart(16, '0')}`);

/** Each gives claim(), true for the first time. */
const KINDS = {
  InMemoryNonceStore: () => {
    const store = new InMemoryNonceStore({ capacity: COUNT });
    return (device, nonce, until) => store.claim(device, nonce, until);
  },
  'Map with purge': () => {
    const nonces = new Map();
    let claims = 0;
    return (device, nonce, until) => {
      if (++claims % 100_000 === 0) {
        const now = Date.now();
        for (const [key, end] of nonces) if (end < now) nonces.delete(key);
      }
      const key = `${device}:${nonce}`;
      if (nonces.has(key)) return false;
      nonces.set(key, until);
      return true;
    };
  },
  'lru-cache': () => {
    const nonces = new LRUCache({ max: COUNT, ttl: 60_000 });
    return (device, nonce) => {
      const key = `${device}:${nonce}`;
      if (nonces.has(key)) return false;
      nonces.set(key, true);
      return true;
    };
  },
};

const kind = process.argv[2];
if (kind in KINDS) console.log(JSON.stringify(measure(KINDS[kind])));
else report();

function measure(make) {
  const toNonce = (i) => Buffer.from(String(i).padStart(16, '0')).toString('base64url');
  const memory = () => {
    for (let i = 0; i < 3; i++) globalThis.gc();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  // Compiled first: neither the compiler's pauses nor its memory count.
  const warm = make();
  for (let i = 0; i < 50_000; i++) warm(DEVICES[i % 10], toNonce(i), Date.now() + 60_000);
  const before = memory();
  const claim = make();
  let longestMs = 0;
  const startedAt = performance.now();
  for (let i = 0; i < COUNT; i++) {
    const nonce = toNonce(i);
    const at = performance.now();
    claim(DEVICES[i % 10], nonce, Date.now() + 600_000);
    longestMs = Math.max(longestMs, performance.now() - at);
  }
  const tookMs = performance.now() - startedAt;
  const bytes = (memory() - before) / COUNT;
  let whenFull = 'takes more';
  try {
    for (let i = 0; i < 1000; i++) claim(DEVICES[1], toNonce(COUNT + i), Date.now() + 600_000);
    if (claim(DEVICES[0], toNonce(0), Date.now() + 600_000)) whenFull = 'lets a replay in';
  } catch (error) {
    whenFull = `refuses (${error.code})`;
    if (claim(DEVICES[0], toNonce(0), Date.now() + 600_000)) whenFull = 'lets a replay in';
  }
  return {
    bytes: Math.round(bytes),
    longestMs: +longestMs.toFixed(1),
    perSecond: Math.round((COUNT / tookMs) * 1000),
    whenFull,
  };
}

function report() {
  const rows = Object.keys(KINDS).map((name) => {
    const run = spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), name], {
      encoding: 'utf8',
    });
    if (run.status !== 0) throw new Error(run.stderr);
    const { bytes, longestMs, perSecond, whenFull } = JSON.parse(run.stdout);
    return {
      store: name,
      'bytes a nonce': bytes,
      'longest claim, ms': longestMs,
      'claims a second': perSecond,
      'when full': whenFull,
    };
  });
  console.table(rows);
  const [ours] = rows;
  const isGood =
    ours['bytes a nonce'] <= BUDGET.bytes &&
    ours['longest claim, ms'] <= BUDGET.pauseMs &&
    ours['when full'].startsWith('refuses');
  if (!isGood) console.error(`Over budget: ${JSON.stringify(BUDGET)}`);
  process.exitCode = isGood || process.argv.includes('--report') ? 0 : 1;
}
