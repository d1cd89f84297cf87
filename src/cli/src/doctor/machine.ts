import { createRequire } from 'node:module';
import {
  type DeviceIdentity,
  FileStore,
  findBackend,
  type PagedList,
  readIdentity,
  testKey,
} from '@authmesh/sdk/admin/list';
import { type Signer, withWorkingKey } from '@authmesh/sdk/core';
import { version } from '../../package.json';
import { followedText, namesOf, readFollowers } from '../allow-list/followers';
import { EXIT } from '../errors/exit-codes';
import { here } from '../words/here';
import { isPipe } from './files';
import { type Finding, failed, ok, skipped, warning } from './finding';

// Read at the start: if root becomes another user, it may no longer be able to read the file.
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

/** The variable that names the file of a secret, for each key backend. */
const SECRET_FILES: Readonly<Record<string, string>> = {
  'encrypted-file': 'AMESH_PASSPHRASE_FILE',
  tpm2: 'AMESH_PIN_FILE',
};

/** @param identity undefined if there is none */
export async function checkKey(dir: string, identity: DeviceIdentity | undefined): Promise<FoundKey> {
  if (identity === undefined) return skipped('There is no identity, so there is no key.');
  const backend = findBackend(identity.key.backend);
  const variable = SECRET_FILES[backend.id];
  const path = variable && process.env[variable];
  if (path && (await isPipe(path)))
    return warning(`Not opened: ${variable} is a pipe, which can be read only once.`, null);
  const context = { dir, env: process.env };
  const signer = await backend.open(identity.key.ref, context);
  if (Buffer.from(signer.publicKey).toString('base64url') !== identity.publicKey) {
    return failed('It is not the key that identity.json names.', 'Restore the right identity.json.');
  }
  await testKey(backend, signer);
  // The signer that a program would use.
  const used = backend.isOutsideProcess ? withWorkingKey(signer) : signer;
  return { ...ok(await backend.describe(context, identity.key.ref)), signer: used };
}

/** After this time, a target that does not know the next key gets a warning, in seconds: 30 days. */
const LONG_SECONDS = 2_592_000;

/**
 * Checks whether the targets of this machine know its next key. It asks none of them.
 *
 * @param list undefined if it cannot be read
 * @returns null if no key is being replaced
 */
export async function checkRotation(dir: string, list: PagedList | undefined): Promise<Finding | null> {
  if (list === undefined) return null;
  const followers = await readFollowers(new FileStore(dir), list);
  if (followers === null) return null;
  const { targets, startedAt, isWithdrawn, isUsed, nextId } = followers;
  if (!isWithdrawn && !isUsed)
    return warning(
      `The next key of this machine (${nextId}) is made, and not used yet. If other instances read the list, each needs both keys first.`,
      here('amesh rotate'),
    );
  const found = `${isWithdrawn ? 'The last rotation was withdrawn' : `The key of this machine is being replaced by ${nextId}`}. ${followedText(followers)}.`;
  const left = targets.filter(({ hasFollowed }) => !hasFollowed);
  const refused = left.filter(({ state }) => state === 'refused');
  const expired = left.filter(({ isExpired }) => isExpired);
  if (isWithdrawn)
    return left.length === 0
      ? ok(found)
      : warning(`${found} Left: ${namesOf(left)}.`, here('amesh rotate withdraw URL'));
  if (left.length === 0)
    return warning(`${found} The former key is not needed any more.`, here('amesh rotate finish'));
  if (refused.length > 0)
    return warning(
      `${found} ${namesOf(refused)} refused the next key.`,
      `See the log there. To ask again: ${here('amesh rotate URL')}   To keep the former key: ${here('amesh rotate withdraw')}`,
    );
  if (expired.length > 0)
    return warning(
      `${found} The statement for ${namesOf(expired)} is more than 30 days old.`,
      here('amesh rotate'),
    );
  const isLong = Date.now() / 1000 - startedAt > LONG_SECONDS;
  const waiting = left.filter(({ state }) => state === 'waiting');
  if (waiting.length > 0)
    return warning(
      `${found} At ${namesOf(waiting)}, the next key waits for an administrator.`,
      `There: amesh rotate accept ${nextId}`,
    );
  return isLong
    ? warning(
        `${found} For more than 30 days, ${namesOf(left)} ${left.length === 1 ? 'has' : 'have'} not accepted it: nothing was sent there, or no instance there can change its allow list.`,
        here('amesh rotate URL'),
      )
    : ok(found);
}
