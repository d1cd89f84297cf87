// What the benchmarks of a list share: the list, a Redis, and questions to other processes.
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

let asked = 0;

/**
 * A list of so many devices. Their keys are no points, which shows only when one of them calls.
 *
 * @param changes how many IDs to return, for changes
 */
export async function makeList(root, env, size, changes = 0) {
  const { addDevice, createIdentity, openDevice, renameDevice, revokeDevice } = await import(
    '@authmesh/sdk/admin'
  );
  const dir = join(root, 'target');
  const identity = await createIdentity(dir, env, { friendlyName: 'target' });
  const device = await openDevice(dir, env);
  const nowSeconds = Math.floor(Date.now() / 1000);
  const callers = [];
  const callerIds = [];
  const ids = [];
  for (const name of ['caller', 'revoked']) {
    const folder = join(root, name);
    const { publicKey, deviceId } = await createIdentity(folder, {}, { friendlyName: name });
    const peer = await openDevice(folder, {});
    await peer.trust.update((draft) =>
      addDevice(
        draft,
        {
          deviceId: identity.deviceId,
          publicKey: identity.publicKey,
          friendlyName: 'target',
          role: 'target',
          hosts: [],
        },
        nowSeconds,
      ),
    );
    await device.trust.update((draft) =>
      addDevice(
        draft,
        { deviceId, publicKey, friendlyName: name, role: 'controller', hosts: [] },
        nowSeconds,
      ),
    );
    callers.push(folder);
    callerIds.push(deviceId);
  }
  // As many as a page takes at a time: a page is split once for each device that is put in.
  await device.trust.update(async (draft) => {
    for (let i = 2; i < size; i++) {
      const key = randomBytes(33);
      key[0] = 2;
      const deviceId = `am_${createHash('sha256').update(key).digest('base64url').slice(0, 16)}`;
      if (ids.length < changes) ids.push(deviceId);
      await draft.put({
        deviceId,
        publicKey: key.toString('base64url'),
        friendlyName: `worker-${i}`,
        roles: ['controller'],
        hosts: [],
        addedAt: nowSeconds,
      });
    }
  });
  const { head, pages } = await device.trust.open();
  const bytes = [...pages.values()].reduce((sum, page) => sum + page.length, head.length);
  let round = 0;
  const revoke = (id) =>
    device.trust.update(async (draft) => {
      // A list of ten has fewer devices than there are changes.
      if ((await draft.device(id)) !== undefined) await revokeDevice(draft, id, nowSeconds);
      else await renameDevice(draft, callerIds[0], `caller-${++round}`);
    });
  return { dir, callers, callerIds, ids, bytes, revoke };
}

/** Sends a question to a process, and returns its answer. */
export function ask(child, question) {
  const id = ++asked;
  return new Promise((resolve, reject) => {
    const fail = () =>
      reject(new Error(`The process has ended before it answered ${JSON.stringify(question)}.`));
    const listen = (message) => {
      if (message.id !== id) return;
      child.off('message', listen).off('exit', fail);
      resolve(message.value);
    };
    child.on('message', listen).once('exit', fail);
    child.send({ id, question });
  });
}

/** Answers a question of the process that started this one. */
export function answer(id, value) {
  process.send({ id, value });
}

export async function startRedis(root) {
  const port = 10_000 + Math.floor(Math.random() * 20_000); // below those that connections get
  const server = spawn(
    'redis-server',
    ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', root],
    {
      stdio: 'ignore',
    },
  );
  for (let i = 0; ; i++) {
    const socket = connect(port, '127.0.0.1');
    const isUp = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isUp) break;
    if (i === 100) throw new Error('redis-server did not start.');
    await pause(50);
  }
  return { url: `redis://127.0.0.1:${port}`, stop: () => server.kill() };
}

/** The median. */
export function middle(values) {
  return round([...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]);
}

/** With one decimal. */
export function round(value) {
  return Math.round(value * 10) / 10;
}
