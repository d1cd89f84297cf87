// How many requests one process signs with a key in a TPM that takes 200 ms for each command, and how often it asks the TPM. The
// TPM is swtpm, behind a shim that delays and counts. Exits with 1 below the budget, or with --report says so.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { signRequest } from '@authmesh/sdk/core';

const DELAY_MS = 200;
const COUNT = 10_000;
const AT_ONCE = 50;
const BUDGET = { perSecond: 2000, signatures: 1 };
const SIGN = 0x15d; // TPM_CC_Sign

if (spawnSync('swtpm', ['--version']).error !== undefined) {
  console.log('Not measured: there is no swtpm here.');
  process.exit(0);
}

const root = mkdtempSync(join(tmpdir(), 'amesh-bench-tpm-'));
const { tpm, shim, stop } = await startTpm();
try {
  const results = await measure();
  console.table(results);
  const missed = results.filter(({ isMissed }) => isMissed);
  process.exitCode = missed.length === 0 || process.argv.includes('--report') ? 0 : 1;
} finally {
  stop();
  tpm.kill('SIGKILL');
  await once(tpm, 'close');
  rmSync(root, { recursive: true, maxRetries: 20 });
}

async function measure() {
  const env = { AMESH_TPM: shim.address };
  const [caller, target] = [join(root, 'caller'), join(root, 'target')];
  const identity = await createIdentity(caller, env, { friendlyName: 'caller', backend: 'tpm2' });
  await createIdentity(target, {}, { friendlyName: 'target' });
  await (await openDevice(target, {})).trust.update((list) =>
    addDevice(list, { ...identity, role: 'controller', hosts: [] }, 0),
  );
  const { signer } = await openDevice(caller, env);
  shim.delayMs = DELAY_MS;
  shim.signatures = 0;

  const view = { method: 'GET', target: '/orders', authority: 'api.example.com', headers: {} };
  const startedAt = performance.now();
  await signRequest(view, signer);
  const firstMs = Math.round(performance.now() - startedAt);
  const signing = await perSecond(() => signRequest(view, signer));

  const verify = createAmesh({ dir: target, env: {} }).verify();
  const server = createHttpServer((req, res) => verify(req, res, () => res.end('passed')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { fetch } = createAmesh({ dir: caller, env });
  const url = `http://127.0.0.1:${server.address().port}/`;
  const fetching = await perSecond(async () => {
    const response = await fetch(url);
    if (response.status !== 200) throw new Error(`${response.status}`);
    await response.text();
  }, COUNT / 5);
  server.close();
  server.closeAllConnections();
  return [
    { what: 'first signature, with the statement of the TPM, in ms', value: firstMs, isMissed: false },
    {
      what: 'requests signed, per second',
      value: signing,
      budget: `at least ${BUDGET.perSecond}`,
      isMissed: signing < BUDGET.perSecond,
    },
    { what: 'amesh.fetch to a verifier in this process, per second', value: fetching, isMissed: false },
    {
      what: `signatures of the TPM for all ${COUNT + COUNT / 5 + 1}`,
      value: shim.signatures,
      budget: `at most ${BUDGET.signatures}`,
      isMissed: shim.signatures > BUDGET.signatures,
    },
  ];
}

async function perSecond(once, count = COUNT) {
  const startedAt = performance.now();
  let left = count;
  const work = async () => {
    while (left-- > 0) await once();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return Math.round((count * 1000) / (performance.now() - startedAt));
}

async function startTpm() {
  const port = await freePort();
  const state = mkdtempSync(join(root, 'tpm-'));
  const args = ['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--server', `type=tcp,port=${port}`];
  const tpm = spawn('swtpm', [...args, '--flags', 'not-need-init,startup-clear'], { stdio: 'ignore' });
  while (!(await answers(port))) await sleep(20);
  const shim = { address: '', delayMs: 0, signatures: 0 };
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const socket of [near, far]) socket.on('error', () => {});
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    far.pipe(near, { end: false });
    near.on('data', async (command) => {
      if (command.readUInt32BE(6) === SIGN) shim.signatures++;
      if (shim.delayMs > 0) await sleep(shim.delayMs);
      far.write(command);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  shim.address = `tcp:127.0.0.1:${server.address().port}`;
  return { tpm, shim, stop: () => server.close() };
}

async function freePort() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

async function answers(port) {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
