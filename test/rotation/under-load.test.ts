import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Amesh, type AmeshOptions, createAmesh } from '@authmesh/sdk';
import {
  acceptSuccessor,
  addDevice,
  createIdentity,
  type Device,
  finishRotation,
  type OwnRotation,
  openDevice,
  readRotationFile,
  rotateKey,
  tellTargets,
} from '@authmesh/sdk/admin';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '../support/free-port';
import { times } from '../support/full';
import { describeWithAgent, type RealAgent, startAgent } from '../support/ssh-agent';
import { describeWithTpm, type Swtpm, startSwtpm } from '../support/swtpm';

/** Real targets behind real sockets, and a caller whose requests never stop while its key moves from place to place. */
const ROTATIONS = times(3, 3, 20);
const EACH_MS = times(0, 0, 30_000);
const EVERY_MS = times(50, 20);
const PLACES = ['tpm2', 'ssh-agent', 'encrypted-file'];

interface Target {
  readonly url: string;
  readonly device: Device;
  open(): Promise<void>;
  close(): Promise<void>;
}

let root = '';
let dir = '';
let env: Record<string, string> = {};
let tpm: Swtpm;
let agent: RealAgent;
let caller: Amesh;
const targets: Target[] = [];
/** The IDs that signed what handlers got, by target, in order. */
const signedBy: string[][] = [[], [], []];

async function startTarget(name: string, acceptRotation: AmeshOptions['acceptRotation'], own: Device) {
  const folder = join(root, name);
  const { deviceId, publicKey } = await createIdentity(folder, {}, { friendlyName: name });
  const device = await openDevice(folder, {});
  const seen = signedBy[targets.length] as string[];
  let server: Server;
  const port = await freePort();
  const open = async () => {
    server = createServer((request, response) =>
      verify(request as never, response as never, () => {
        const { authMesh } = request as unknown as { authMesh: { deviceId: string; formerIds?: string[] } };
        if (seen.at(-1) !== authMesh.deviceId) seen.push(authMesh.deviceId);
        response.end(authMesh.formerIds?.[0] ?? authMesh.deviceId);
      }),
    );
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  const close = async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  const amesh = createAmesh({ dir: folder, env: {}, acceptRotation });
  const verify = amesh.verify();
  await open();
  const host = `127.0.0.1:${port}`;
  await device.trust.update((draft) =>
    addDevice(draft, { ...own.identity, role: 'controller', hosts: [], scopes: ['orders:read'] }, 0),
  );
  await own.trust.update((draft) =>
    addDevice(draft, { deviceId, publicKey, friendlyName: name, role: 'target', hosts: [host] }, 0),
  );
  targets.push({ url: `http://${host}/`, device, open, close });
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-rotate-'));
  dir = join(root, 'caller');
  [tpm, agent] = [await startSwtpm(), await startAgent()];
  env = { AMESH_TPM: tpm.address, SSH_AUTH_SOCK: agent.path };
  await createIdentity(dir, env, { friendlyName: 'caller' });
  const own = await openDevice(dir, env);
  await startTarget('by-itself', 'auto', own);
  await startTarget('by-command', 'admin', own);
  await startTarget('away', 'auto', own);
  caller = createAmesh({ dir, env });
});
afterAll(async () => {
  await Promise.all(targets.map(({ close }) => close()));
  await tpm.remove();
  await agent.remove();
  await rm(root, { recursive: true, maxRetries: 20 });
});

/** Calls one target after the other until it is stopped. */
function load() {
  const wrong: unknown[] = [];
  const firstIds = new Set<string>();
  let [sent, unreachable] = [0, 0];
  let isOn = true;
  const running = new Set<Promise<void>>();
  const once = async ({ url }: Target) => {
    try {
      const response = await caller.fetch(url);
      const text = await response.text();
      if (response.status === 200) firstIds.add(text);
      else wrong.push([response.status, text]);
    } catch (error) {
      const { code } = ((error as Error).cause ?? {}) as { code?: string };
      if (code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === 'UND_ERR_SOCKET') unreachable++;
      else wrong.push(error);
    }
  };
  const loop = (async () => {
    while (isOn) {
      const one = once(targets[sent++ % targets.length] as Target);
      running.add(one);
      void one.finally(() => running.delete(one));
      await sleep(EVERY_MS);
    }
    await Promise.all(running);
  })();
  return {
    wrong,
    firstIds,
    counts: () => ({ sent, unreachable }),
    stop: async () => {
      isOn = false;
      await loop;
    },
  };
}

/** The IDs that a list keeps: the first one, and the latest 15. */
const formerOf = ([first = '', ...later]: readonly string[]) => [first, ...later.slice(0, -1).slice(-15)];

/** What each target knows, in the order of the targets. */
const statesOf = (rotation: OwnRotation) =>
  targets.map(({ device }) => {
    const { state, isProven } = rotation.targets[device.identity.deviceId] ?? {};
    return `${state} ${isProven ? 'proven' : 'unproven'}`;
  });

describeWithTpm(`a key that is rotated under ${1000 / EVERY_MS} requests a second`, () => {
  describeWithAgent('from a file to a TPM, to an SSH agent, and back', () => {
    it(`${ROTATIONS} times, with targets that accept it by themselves, by command, and late: none is refused`, async () => {
      const { deviceId: firstId } = await caller.identity();
      const traffic = load();
      const ids = [firstId];
      for (let i = 0; i < ROTATIONS; i++) {
        const [, byCommand, away] = targets as [Target, Target, Target];
        await away.close();
        const backend = PLACES[i % PLACES.length] as string;
        const agentKey = backend === 'ssh-agent' ? await agent.add(`amesh-${i}`) : undefined;
        const { rotation, identity, isSwapped } = await rotateKey(dir, env, {
          backend,
          agentKey,
          ...(agentKey !== undefined && { agentSocket: agent.path }),
        });
        expect([isSwapped, identity.key.backend]).toEqual([true, backend]);
        ids.push(identity.deviceId);
        const { store } = await openDevice(dir, env);
        const now = async () => statesOf((await readRotationFile(store)) as OwnRotation);
        await expect.poll(now).toEqual(['accepted proven', 'waiting proven', 'untold unproven']);
        await byCommand.device.trust.update((draft) =>
          acceptSuccessor(draft, identity.deviceId, Math.floor(Date.now() / 1000)),
        );
        await away.open();
        await sleep(EACH_MS); // long enough for the process to tell it by itself
        const urls = [byCommand, away].map(({ url }) => new URL(url));
        // A server applies what an administrator accepts within a second; until then, it answers that it waits.
        const tell = async () => {
          await tellTargets(await openDevice(dir, env), rotation, 'rotate', urls, env);
          return now();
        };
        await expect
          .poll(tell, { interval: 250 })
          .toEqual(['accepted proven', 'accepted proven', 'accepted proven']);
        await expect
          .poll(() => signedBy.map((seen) => seen.at(-1)))
          .toEqual(Array(3).fill(identity.deviceId));
        await finishRotation(await openDevice(dir, env), env);
      }
      await traffic.stop();
      expect(traffic.wrong).toEqual([]);
      expect([...traffic.firstIds]).toEqual([firstId]);
      expect((await caller.identity()).deviceId).toBe(ids.at(-1));
      for (const { device } of targets) {
        const list = await device.trust.read();
        const [entry] = [...list.devices()].filter(({ roles }) => roles.includes('controller'));
        expect(entry).toMatchObject({ deviceId: ids.at(-1), scopes: ['orders:read'], was: formerOf(ids) });
      }
      const { sent, unreachable } = traffic.counts();
      console.info(
        `${ROTATIONS} rotations: ${sent} requests, 0 refused, ${unreachable} while a target was away`,
      );
    }, 1_500_000);
  });
});
