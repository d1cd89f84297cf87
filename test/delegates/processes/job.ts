// A job that was lent a part of a device's power: node job.mjs URL
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { amesh, createAmesh } from '@authmesh/sdk';

const [url = ''] = process.argv.slice(2);
if (isMainThread) await run();
else parentPort?.postMessage((await createAmesh().fetch(url)).status);

async function run() {
  const first = await amesh.fetch(url);
  const second = await createAmesh().fetch(url); // the variable is gone by now
  const children = execFileSync('env', { encoding: 'utf8' });
  const thread = new Worker(new URL(import.meta.url), { argv: [url] });
  const [third] = await once(thread, 'message');
  const facts = {
    statuses: [first.status, second.status, third],
    body: await first.text(),
    variable: process.env.AMESH_DELEGATION ?? null,
    isInherited: children.includes('amesh_delegation_'),
    isArgument: readFileSync('/proc/self/cmdline', 'utf8').includes('amesh_delegation_'),
  };
  process.stdout.write(`job ${JSON.stringify(facts)}\n`);
}
