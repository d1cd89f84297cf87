import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, type Device, openDevice, type ToldTarget } from '@authmesh/sdk/admin';
import { requestOf } from '../support/rotating';

/** What a target has received. */
export interface Received {
  readonly status: number;
  /** The ID in its Authorization. */
  readonly signedBy: string | undefined;
  readonly rotation: string | undefined;
}

/** A target on loopback that answers to AuthMesh-Rotation as a test wishes. */
export interface Target {
  readonly url: string;
  readonly device: Device;
  readonly received: Received[];
  /** What it says about a next key; with `accepted` the test has made it known before. */
  answer: string | undefined;
  /** Called for each request that reaches its handler, with the method and the ID that signed it. */
  onHandled: (what: string) => void;
  /** Makes a device known. */
  know(identity: { readonly deviceId: string; readonly publicKey: string }): Promise<void>;
  close(): Promise<void>;
}

/** How the list of a caller has a target. */
export interface Listed {
  /** The name under which the caller knows it; default 127.0.0.1, where it listens. */
  readonly name?: string;
  /** False if it cannot prove its answers; default true. */
  readonly proves?: boolean;
  /** Whether the caller calls it by https, as behind a front that ends TLS; default false. */
  readonly isTls?: boolean;
}

/** A caller in a folder of its own, and a target that knows it. */
export async function meet(listed: Listed = {}) {
  const root = await mkdtemp(join(tmpdir(), 'amesh-rotation-'));
  const dir = join(root, 'caller');
  const former = await createIdentity(dir, {}, { friendlyName: 'caller' });
  const caller = await openDevice(dir, {});
  const target = await startTarget(root, 'orders', caller, listed);
  const close = async () => {
    await target.close();
    await rm(root, { recursive: true, maxRetries: 20 });
  };
  return { root, dir, former, caller, target, close };
}

/** Changes what a caller notes of a target, as if that had answered in another process. */
export async function noteOf(dir: string, target: Target, state: Partial<ToldTarget>): Promise<void> {
  const path = join(dir, 'rotation.json');
  const file = JSON.parse(await readFile(path, 'utf8'));
  const { deviceId } = target.device.identity;
  const targets = { ...file.targets, [deviceId]: { ...file.targets[deviceId], ...state } };
  await writeFile(path, JSON.stringify({ ...file, targets }));
}

export async function startTarget(
  root: string,
  name: string,
  caller: Device,
  { name: hostname = '127.0.0.1', proves = true, isTls = false }: Listed = {},
): Promise<Target> {
  const dir = join(root, name);
  await createIdentity(dir, {}, { friendlyName: name });
  const device = await openDevice(dir, {});
  const received: Received[] = [];
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `${hostname}:${(server.address() as AddressInfo).port}`;
  const amesh = createAmesh({ dir, env: {}, hosts: [host], onRefusal: () => {} });
  const verify = amesh.verify();
  let readAt = 0;
  const target: Target = {
    url: `${isTls ? 'https' : 'http'}://${host}/orders`,
    device,
    received,
    answer: undefined,
    onHandled: () => {},
    know: async ({ deviceId, publicKey }) => {
      const peer = { deviceId, publicKey, friendlyName: 'caller', role: 'controller', hosts: [] } as const;
      await device.trust.update((draft) => addDevice(draft, peer, 0));
      await sleep(Math.max(0, readAt + 300 - performance.now())); // the server looks at its list at most so late
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
  server.on('request', (request, response) => {
    const rotation = headerOf(request, 'authmesh-rotation');
    response.on('finish', () =>
      received.push({
        status: response.statusCode,
        signedBy: /id="(am_[\w-]{16})"/.exec(headerOf(request, 'authorization') ?? '')?.[1],
        rotation,
      }),
    );
    verify(request as never, response as never, () => {
      const { deviceId } = (request as unknown as { authMesh: { deviceId: string } }).authMesh;
      target.onHandled(`${request.method} ${deviceId}`);
      if (rotation !== undefined && target.answer !== undefined)
        response.setHeader('authmesh-rotation', target.answer);
      response.end('ok');
    });
  });
  await target.know(caller.identity);
  // On a busy machine its list may otherwise be on its way still when a test changes that.
  await amesh.verifier({ authority: host }).verify(await requestOf(caller.signer, { authority: host }));
  readAt = performance.now();
  const { deviceId, publicKey } = device.identity;
  await caller.trust.update((draft) =>
    addDevice(draft, { deviceId, publicKey, friendlyName: name, role: 'target', hosts: [host], proves }, 0),
  );
  return target;
}

function headerOf({ headers }: IncomingMessage, name: string): string | undefined {
  return headers[name] as string | undefined;
}
