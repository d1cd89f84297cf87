import { fromBase64Url, toBase64Url, toUtf8 } from '../../core/encoding';
import { hasExactly, type JsonObject, parseExactObject } from '../../core/strict-json';
import { PairingError, tampered } from './failure';
import { SUITE } from './suite';

/** The version of the ceremony that this code implements. */
export const VERSION = 1;

const MAX_LENGTH = 1024;

/** M1, controller to target, not encrypted: the supported versions, and a commitment to the content of M3. */
export interface M1 {
  readonly com: Uint8Array;
}

/** M2, target to controller, not encrypted. */
export interface M2 {
  readonly eT: Uint8Array;
  readonly nT: Uint8Array;
}

/** M3, controller to target, not encrypted: opens the commitment of M1. */
export interface M3 {
  readonly eC: Uint8Array;
  readonly nC: Uint8Array;
}

export function writeM1({ com }: M1): string {
  return JSON.stringify({
    type: 'm1',
    versions: [VERSION],
    suite: SUITE,
    role: 'controller',
    com: toBase64Url(com),
  });
}

export function readM1(body: string): M1 {
  const { versions, suite, role, com } = read(body, 'm1', ['versions', 'suite', 'role', 'com']);
  if (!Array.isArray(versions) || versions.length > 16 || !versions.every((v) => Number.isSafeInteger(v)))
    throw tampered();
  if (!versions.includes(VERSION)) throw new PairingError('unsupported_version');
  if (suite !== SUITE || role !== 'controller') throw tampered();
  return { com: bytes(com, 32) };
}

export function writeM2({ eT, nT }: M2): string {
  return JSON.stringify({
    type: 'm2',
    version: VERSION,
    suite: SUITE,
    role: 'target',
    eT: toBase64Url(eT),
    nT: toBase64Url(nT),
  });
}

export function readM2(body: string): M2 {
  const { version, suite, role, eT, nT } = read(body, 'm2', ['version', 'suite', 'role', 'eT', 'nT']);
  if (!Number.isSafeInteger(version)) throw tampered();
  if (version !== VERSION) throw new PairingError('unsupported_version');
  if (suite !== SUITE || role !== 'target') throw tampered();
  return { eT: bytes(eT, 33), nT: bytes(nT, 32) };
}

export function writeM3({ eC, nC }: M3): string {
  return JSON.stringify({ type: 'm3', eC: toBase64Url(eC), nC: toBase64Url(nC) });
}

export function readM3(body: string): M3 {
  const { eC, nC } = read(body, 'm3', ['eC', 'nC']);
  return { eC: bytes(eC, 33), nC: bytes(nC, 32) };
}

/** Strict: accepts exactly these members, in the one form that `write…` produces. */
function read(body: string, type: string, names: readonly string[]): JsonObject {
  if (typeof body !== 'string' || body.length > MAX_LENGTH) throw tampered();
  const message = parseExactObject(body);
  if (message === null || !hasExactly(message, ['type', ...names])) throw tampered();
  if (Object.keys(message).join() !== ['type', ...names].join() || message.type !== type) throw tampered();
  return message;
}

function bytes(value: unknown, length: number): Uint8Array {
  const decoded = typeof value === 'string' ? fromBase64Url(value) : null;
  if (decoded?.length !== length) throw tampered();
  return decoded;
}

/** The bytes of an unencrypted message for the transcript hash: exactly those that were sent. */
export function helloBytes(body: string): Uint8Array {
  return toUtf8(body);
}
