// Does what each example's README says, with the packed packages, and compares what comes out.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { packInto } from './pack.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const examples = join(root, 'examples');
const work = mkdtempSync(join(tmpdir(), 'amesh-examples-'));
const names = readdirSync(examples, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

// All examples stand in one folder with what they need, since each alone would install the same again.
const manifests = names.map((name) => JSON.parse(readFileSync(join(examples, name, 'package.json'), 'utf8')));
const others = Object.assign({}, ...manifests.map(({ dependencies }) => dependencies));
const tarballs = packInto(work).map((path) => basename(path));
const wanted = Object.entries(others).filter(([name]) => !name.startsWith('@authmesh/'));
writeFileSync(
  join(work, 'package.json'),
  JSON.stringify({ private: true, dependencies: Object.fromEntries(wanted) }),
);
execFileSync(
  'npm',
  ['install', '--prefer-offline', '--no-audit', '--no-fund', ...tarballs.map((name) => `./${name}`)],
  {
    cwd: work,
    stdio: 'inherit',
  },
);

let failed = 0;
for (const name of names) {
  const problem = await check(name).catch((error) => error.message);
  if (problem === undefined) console.log(`✓ examples/${name}`);
  else {
    failed++;
    console.log(`✗ examples/${name}\n${problem}`);
  }
}
rmSync(work, { recursive: true, force: true, maxRetries: 20 });
console.log(`${names.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

/** @returns what went wrong */
async function check(name) {
  const dir = join(work, name);
  cpSync(join(examples, name), dir, { recursive: true });
  const env = { ...process.env, PATH: `${join(work, 'node_modules/.bin')}:${process.env.PATH}` };
  const blocks = [
    ...readFileSync(join(dir, 'README.md'), 'utf8').matchAll(/^```(\w+) (\w+)\n([\s\S]*?)^```$/gm),
  ];
  const servers = [];
  let printed = '';
  try {
    for (const [, , kind, text] of blocks) {
      if (kind === 'pair') bash(text);
      else if (kind === 'start') servers.push(await start(text));
      else if (kind === 'call') printed = bash(text);
      else if (kind === 'output' && printed !== text) return `It printed:\n${printed}and not:\n${text}`;
    }
    return blocks.some(([, , kind]) => kind === 'output') ? undefined : 'Its README shows no output.';
  } finally {
    for (const child of servers) child.kill();
    await Promise.all(servers.map((child) => child.exitCode ?? once(child, 'close')));
  }

  function bash(text) {
    const stdio = ['ignore', 'pipe', 'pipe'];
    return execFileSync('bash', ['-euo', 'pipefail', '-c', text], { cwd: dir, env, encoding: 'utf8', stdio });
  }

  /** Starts a server, and waits until it listens: the n-th of an example does on port 3000 + n. */
  async function start(text) {
    const child = spawn('bash', ['-c', `${text.trim()} & trap "kill $!" TERM; wait $!`], { cwd: dir, env });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        said += chunk;
      });
    }
    const port = 3000 + servers.length;
    for (let tries = 0; tries < 300; tries++) {
      if (child.exitCode !== null) throw new Error(`It ended:\n${said}`);
      if (await answers(port)) return child;
      await sleep(100);
    }
    throw new Error(`It does not listen:\n${said}`);
  }
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = connect(port, 'localhost');
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
}
