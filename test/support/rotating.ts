import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AmeshOptions, createAmesh, type VerifyOptions } from '@authmesh/sdk';
import { addDevice, createIdentity, openDevice } from '@authmesh/sdk/admin';
import { deviceIdOf, type RequestView, type Signer, type Verifier } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { toBase64Url } from '../../src/core/encoding';
import { signRotation } from '../../src/core/rotation/rotation';
import { signParts } from '../../src/core/sign/sign-request';

/** A key of its own. */
export interface Key extends Signer {
  readonly deviceId: string;
}

export async function newKey(): Promise<Key> {
  const signer = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
  const deviceId = await deviceIdOf(signer.publicKey, nodeCrypto);
  return { publicKey: signer.publicKey, sign: (message) => signer.sign(message), deviceId };
}

/** How to send a request. */
export interface CallOptions {
  /** The value of AuthMesh-Rotation. */
  readonly rotation?: string | undefined;
  readonly verifier?: Verifier;
  readonly created?: number;
  /** Default `api.example.com` and `/`. */
  readonly authority?: string;
  readonly path?: string;
  /** The target that it names; default none. */
  readonly targetId?: string;
}

/** A target in a folder of its own, whose list has a caller. */
export async function rotatingTarget(options: AmeshOptions = {}) {
  const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  const dir = join(root, 'target');
  const { deviceId } = await createIdentity(dir, {}, { friendlyName: 'target' });
  const opened = await openDevice(dir, {});
  const { trust } = opened;
  const caller = await newKey();
  const add = (key: Key, friendlyName: string, scopes: readonly string[] = []) =>
    trust.update((draft) =>
      addDevice(
        draft,
        {
          deviceId: key.deviceId,
          publicKey: toBase64Url(key.publicKey),
          friendlyName,
          role: 'controller',
          hosts: [],
          scopes,
        },
        Math.floor(Date.now() / 1000),
      ),
    );
  await add(caller, 'laptop', ['orders:read']);
  const verifierWith = (more: AmeshOptions = {}, verify: VerifyOptions = {}) =>
    createAmesh({ dir, env: {}, onRefusal() {}, ...options, ...more }).verifier({
      authority: 'api.example.com',
      ...verify,
    });
  const verifier = verifierWith();
  return {
    root,
    dir,
    deviceId,
    trust,
    caller,
    add,
    verifier,
    verifierWith,
    /** A statement of two keys for this target, or for another one. */
    statement: (former: Signer, next: Signer, more: { targetId?: string; nowMs?: number } = {}) =>
      signRotation({ former, next, targetId: deviceId, nowMs: Date.now(), ...more }),
    call: (by: Signer, how: CallOptions = {}) => callTo(how.verifier ?? verifier, by, how),
    async list() {
      const { result } = await trust.update(async (draft) => {
        const all = [];
        for await (const device of draft.devices()) all.push(device);
        return all;
      });
      return result;
    },
    remove: () => rm(root, { recursive: true, maxRetries: 20 }),
  };
}

export type RotatingTarget = Awaited<ReturnType<typeof rotatingTarget>>;

/** What became of a request: its caller and the answer about the next key, or why it was refused. */
export interface Called {
  readonly code?: string;
  readonly answer?: string | undefined;
  readonly deviceId?: string;
  readonly formerIds?: readonly string[] | undefined;
  readonly scopes?: readonly string[];
}

async function callTo(verifier: Verifier, by: Signer, how: CallOptions): Promise<Called> {
  const view = await requestOf(by, how);
  const verdict = await verifier.verify(view);
  if (!verdict.ok) return { code: verdict.kind === 'refused' ? verdict.code : verdict.kind };
  const { deviceId, formerIds, scopes } = verdict.caller;
  return { answer: verdict.headers?.['authmesh-rotation'], deviceId, formerIds, scopes };
}

/** A signed request. */
export async function requestOf(
  by: Signer,
  {
    rotation,
    created = Math.floor(Date.now() / 1000),
    authority = 'api.example.com',
    path = '/',
    targetId,
  }: CallOptions = {},
): Promise<RequestView & { readonly headers: Record<string, string> }> {
  const view = {
    method: 'GET',
    target: path,
    authority,
    headers: { ...(rotation !== undefined && { 'authmesh-rotation': rotation }) },
  };
  const { added } = await signParts(view, undefined, by, { created, targetDeviceId: targetId });
  return { ...view, headers: { ...view.headers, ...added } };
}
