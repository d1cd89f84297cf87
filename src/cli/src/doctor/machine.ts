import { createRequire } from 'node:module';
import { type DeviceIdentity, FileStore, findBackend, readIdentity, testKey } from '@authmesh/sdk/admin';
import { AmeshError, CODES, type Signer, withWorkingKey } from '@authmesh/sdk/core';
import { version } from '../../package.json';
import { EXIT } from '../errors/exit-codes';
import { here } from '../words/here';
import { isPipe } from './files';
import { type Finding, failed, ok, skipped, toFinding, warning } from './finding';

// Read at startup: root that becomes another user may not be able to later.
const SDK_VERSION = createRequire(import.meta.url)('@authmesh/sdk/package.json').version as string;

const OLDEST_NODE = [20, 19] as const;

export async function checkVersions(): Promise<Finding> {
  const { node } = process.versions;
  const text = `@authmesh/cli ${version}, @authmesh/sdk ${SDK_VERSION}, Node ${node} on ${process.platform} ${process.arch}.`;
  const [major = 0, minor = 0] = node.split('.').map(Number);
  if (major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1]))
    return failed(text, `Use Node ${OLDEST_NODE.join('.')} or newer.`);
  return SDK_VERSION === version
    ? ok(text)
    : warning(text, `npm install --global @authmesh/cli@${SDK_VERSION}`);
}

export interface FoundIdentity extends Finding {
  readonly identity?: DeviceIdentity;
}

export async function checkIdentity(dir: string): Promise<FoundIdentity> {
  const identity = await readIdentity(new FileStore(dir));
  if (identity !== null)
    return { ...ok(`${JSON.stringify(identity.friendlyName)} (${identity.deviceId}).`), identity };
  const { AMESH_OWNER_KEY, AMESH_BOOTSTRAP_TOKEN } = process.env;
  if (AMESH_OWNER_KEY) return skipped('There is none, but AMESH_OWNER_KEY is set, so none is needed.');
  if (AMESH_BOOTSTRAP_TOKEN) {
    return warning(
      'There is none yet. The first verify() or fetch creates one with AMESH_BOOTSTRAP_TOKEN.',
      null,
    );
  }
  return {
    ...failed(`There is none in ${dir}.`, here('amesh init --name NAME')),
    exitCode: EXIT.noIdentity,
  };
}

export interface FoundKey extends Finding {
  readonly signer?: Signer;
}

/** @param identity undefined if there is none */
export async function checkKey(dir: string, identity: DeviceIdentity | undefined): Promise<FoundKey> {
  if (identity === undefined) return skipped('There is no identity, so there is no key.');
  const { AMESH_PASSPHRASE_FILE } = process.env;
  if (AMESH_PASSPHRASE_FILE && (await isPipe(AMESH_PASSPHRASE_FILE))) {
    return warning('Not opened: AMESH_PASSPHRASE_FILE is a pipe, which can be read only once.', null);
  }
  const context = { dir, env: process.env };
  const backend = findBackend(identity.key.backend);
  const { available, reason, advice } = await backend.probe(context, identity.key.ref);
  if (!available) return toFinding(new AmeshError(CODES.key_backend_unavailable, reason, advice));
  const signer = await backend.open(identity.key.ref, context);
  if (Buffer.from(signer.publicKey).toString('base64url') !== identity.publicKey) {
    return failed('It is not the key that identity.json names.', 'Restore the right identity.json.');
  }
  await testKey(backend, signer);
  // As a program would sign.
  const used = backend.isOutsideProcess ? withWorkingKey(signer) : signer;
  return { ...ok(await backend.describe(context, identity.key.ref)), signer: used };
}
