// The README's first command and the whole build, in a fresh clone, as a machine with 2 GB runs them: 1.5 GB for all
// processes together, and a heap as small as Node takes there. Says how long each took and how large its largest
// process became. Without the rights to make a cgroup, only the heap is limited, and it says so.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ALL_BYTES = 1500 * 1024 * 1024;
const root = dirname(dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(join(tmpdir(), 'amesh-small-'));
const group = makeGroup();
console.log(group === null ? 'No cgroup: only the heap is limited.' : 'All processes together: 1,500 MB.');

/** What runs, with which heap, and how large its largest process may become. */
const steps = [
  { command: 'npm install --no-audit --no-fund --prefer-offline', heapMb: 700 },
  { command: 'npm run build --silent -- --javascript', heapMb: 700, processMb: 600 },
  { command: 'npm run demo --silent', heapMb: 700, processMb: 600 },
  { command: 'npm run build --silent', heapMb: 1000 },
];

let failed = 0;
try {
  clone();
  for (const step of steps) failed += measure(step) ? 0 : 1;
} finally {
  rmSync(work, { recursive: true, force: true, maxRetries: 20 });
  if (group !== null) rmdirSync(group);
}
console.log(`${steps.length - failed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;

function clone() {
  const { status, stderr } = spawnSync('git', ['clone', '--quiet', '--depth', '1', `file://${root}`, work]);
  if (status !== 0) throw new Error(String(stderr));
}

/** @returns whether it ended well and kept to its size */
function measure({ command, heapMb, processMb = Number.POSITIVE_INFINITY }) {
  const enter = group === null ? '' : `echo $$ > ${group}/cgroup.procs; `;
  const env = { ...process.env, NODE_OPTIONS: `--max-old-space-size=${heapMb}` };
  const startedAt = performance.now();
  // `time` tells of the largest process below it.
  const { status, stdout, stderr } = spawnSync(
    '/usr/bin/time',
    ['-f', '%M KB', 'sh', '-c', enter + command],
    {
      cwd: work,
      env,
      encoding: 'utf8',
    },
  );
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const largestMb = Math.round(Number(/(\d+) KB\s*$/.exec(stderr)?.[1]) / 1024);
  const isGood = status === 0 && largestMb <= processMb;
  console.log(`${isGood ? '✓' : '✗'} ${command}: ${seconds} s, largest process ${largestMb} MB`);
  if (!isGood) console.log(stdout, stderr);
  return isGood;
}

/** A memory cgroup of either version, where this user may make one. */
function makeGroup() {
  const name = `amesh-small-${process.pid}`;
  const kinds = [
    { parent: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes' },
    { parent: '/sys/fs/cgroup', limit: 'memory.max' },
  ];
  for (const { parent, limit } of kinds) {
    if (!existsSync(join(parent, 'cgroup.procs'))) continue;
    const made = join(parent, name);
    try {
      mkdirSync(made);
      writeFileSync(join(made, limit), String(ALL_BYTES));
      return made;
    } catch {
      rmSync(made, { recursive: true, force: true });
    }
  }
  return null;
}
