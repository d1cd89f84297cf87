import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Amesh, type AmeshOptions, createAmesh } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import type { Refusal, Signer } from '@authmesh/sdk/core';

/** Two machines with folders of their own: the target trusts the controller. */
export interface Machines {
  readonly controller: Amesh;
  readonly target: Amesh;
  /** The controller's own, for requests that no client would send. */
  readonly signer: Signer;
  readonly controllerId: string;
  readonly controllerDir: string;
  /** Why the target has refused, oldest first; empty it between tests. */
  readonly refusals: Refusal[];
  /** Another instance of the target's folder, with its own nonces. */
  targetWith(options: AmeshOptions): Amesh;
  /** Another instance of the controller's folder. */
  controllerWith(options: AmeshOptions): Amesh;
  remove(): Promise<void>;
}

export async function createMachines(): Promise<Machines> {
  const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  const [controllerDir, targetDir] = [join(root, 'controller'), join(root, 'target')];
  const identity = await createIdentity(controllerDir, {}, { friendlyName: 'controller' });
  await createIdentity(targetDir, {}, { friendlyName: 'target' });
  const { trust } = await openDevice(targetDir, {});
  const { deviceId, publicKey, friendlyName } = identity;
  await trust.update((list) =>
    addDevice(list, { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] }, 0),
  );
  const refusals: Refusal[] = [];
  const onRefusal = (refusal: unknown) => void refusals.push(refusal as Refusal);
  const targetWith = (options: AmeshOptions) =>
    createAmesh({ dir: targetDir, env: {}, onRefusal, ...options });
  const controllerWith = (options: AmeshOptions) => createAmesh({ dir: controllerDir, env: {}, ...options });
  return {
    controller: controllerWith({}),
    target: targetWith({}),
    signer: (await openDevice(controllerDir, {})).signer,
    controllerId: deviceId,
    controllerDir,
    refusals,
    targetWith,
    controllerWith,
    remove: () => rm(root, { recursive: true, maxRetries: 20 }),
  };
}
