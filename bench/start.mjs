// How long a command takes over `node -e 0`, and a server until it has answered its first signed request over the same server
// without amesh: the least of some rounds, since other work on the machine only adds. Usage: node bench/start.mjs [--rounds 15]
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { createAmesh } from '@authmesh/sdk';
import { makeList } from './list-support.mjs';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const AMESH = here('../src/cli/bin/amesh.mjs');

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } });
const root = mkdtempSync(join(tmpdir(), 'amesh-start-'));
try {
  const { dir, callers } = await makeList(root, {}, 2);
  const env = { PATH: process.env.PATH, AUTH_MESH_DIR: dir };
  const { fetch: signed } = createAmesh({ dir: callers[0], env: {} });
  const runs = {
    'node -e 0': () => timeCommand(env, '-e', '0'),
    'amesh --version': () => timeCommand(env, AMESH, '--version'),
    'amesh whoami': () => timeCommand(env, AMESH, 'whoami'),
    'amesh list': () => timeCommand(env, AMESH, 'list'),
    'first request, no amesh': () => timeServer(fetch),
    'first signed request': () => timeServer(signed, dir),
  };
  const least = Object.fromEntries(
    Object.keys(runs).map((what) => [what, { ms: Infinity, cpuMs: Infinity }]),
  );
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [what, run] of Object.entries(runs)) {
      const { ms, cpuMs } = await run();
      least[what].ms = Math.min(least[what].ms, ms);
      least[what].cpuMs = Math.min(least[what].cpuMs, cpuMs);
    }
  }
  show(least);
} finally {
  rmSync(root, { recursive: true, maxRetries: 20 });
}

async function timeCommand(env, ...args) {
  const words = [process.execPath, ...args].map((word) => `'${word}'`).join(' ');
  const start = performance.now();
  const { stderr } = await promisify(execFile)(
    'bash',
    ['--norc', '-c', `TIMEFORMAT='%3U %3S'; time ${words}`],
    {
      env,
    },
  );
  const ms = performance.now() - start;
  const [user, system] = stderr.trim().split('\n').at(-1).split(' ').map(Number);
  return { ms, cpuMs: (user + system) * 1000 };
}

async function timeServer(fetch, ...args) {
  const start = performance.now();
  const child = fork(here('start-server.mjs'), args, { env: { PATH: process.env.PATH } });
  const [{ port }] = await once(child, 'message');
  const told = once(child, 'message');
  const response = await fetch(`http://127.0.0.1:${port}/`);
  await response.text();
  const ms = performance.now() - start;
  if (response.status !== 200) throw new Error(`The server answered ${response.status}.`);
  const [{ cpuMs }] = await told;
  child.kill();
  return { ms, cpuMs };
}

function show(least) {
  const base = (what) => least[what.includes('request') ? 'first request, no amesh' : 'node -e 0'];
  console.table(
    Object.fromEntries(
      Object.entries(least).map(([what, { ms, cpuMs }]) => [
        what,
        {
          ms: Math.round(ms),
          'over its base': Math.round(ms - base(what).ms),
          'CPU ms': Math.round(cpuMs),
          'over it': Math.round(cpuMs - base(what).cpuMs),
        },
      ]),
    ),
  );
}
