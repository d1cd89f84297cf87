import { isLowS, toLowS } from '../crypto/low-s';
import type { CryptoProvider, Signer } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { equalBytes, fromBase64Url, toBase64Url, toUtf8 } from '../encoding';
import { parseExactObject } from '../strict-json';
import { isDeviceId } from '../wire/credentials';
import { ROTATION_LABEL } from '../wire/labels';

/** The limits of rotations. */
export const ROTATION_LIMITS = /* @__PURE__ */ Object.freeze({
  /** A statement has about 430 characters. */
  characters: 1024,
  /** How long a statement is accepted, in seconds: 30 days. */
  lifeSeconds: 2_592_000,
  /** How far the clock of the device that made it may be ahead, in seconds. */
  aheadSeconds: 300,
  /** How long both keys count after the next one was accepted, in seconds: 30 days. */
  overlapSeconds: 2_592_000,
});

/** What a device says about its next key. Both keys have signed it. */
export interface Rotation {
  /** The key that is replaced: a compressed point, 33 bytes. */
  readonly formerKey: Uint8Array;
  /** Its device ID. */
  readonly formerId: string;
  /** The key that replaces it: a compressed point, 33 bytes. */
  readonly nextKey: Uint8Array;
  /** Its device ID. */
  readonly nextId: string;
  /** The ID of the target that gets the statement. It is `formerId` if a target itself moves to another key. */
  readonly targetId: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** The statement as it travels. */
  readonly text: string;
}

/** The keys and the recipient of a statement. */
export interface RotationOptions {
  /** The key that is replaced. */
  readonly former: Signer;
  /** The key that replaces it. */
  readonly next: Signer;
  /** The ID of the target that gets the statement; the ID of `former` if a target itself moves to another key. */
  readonly targetId: string;
  /** The clock, Unix milliseconds. */
  readonly nowMs: number;
}

/**
 * Makes a statement: payload, signature of the former key and signature of the next key, separated by full stops.
 *
 * @returns about 430 characters
 * @throws TypeError if a signer returns anything other than 64 bytes; what a signer throws
 */
export async function signRotation({ former, next, targetId, nowMs }: RotationOptions): Promise<string> {
  const payload = payloadOf(former.publicKey, next.publicKey, targetId, nowMs);
  return `${payload}.${await signatureOf(former, payload)}.${await signatureOf(next, payload)}`;
}

/** What both keys sign, in base64url. */
export function payloadOf(
  formerKey: Uint8Array,
  nextKey: Uint8Array,
  targetId: string,
  nowMs: number,
): string {
  const [old, next] = [toBase64Url(formerKey), toBase64Url(nextKey)];
  const claims = { old, new: next, target: targetId, iat: Math.floor(nowMs / 1000) };
  return toBase64Url(toUtf8(JSON.stringify(claims)));
}

/** @throws TypeError if the signer returns anything other than 64 bytes; what it throws */
export async function signatureOf(signer: Signer, payload: string): Promise<string> {
  const signature = await signer.sign(toUtf8(ROTATION_LABEL + payload));
  if (signature.length !== 64) throw new TypeError('The signature of the signer is not 64 bytes long.');
  return toBase64Url(toLowS(signature));
}

/**
 * Reads a statement, and checks both signatures. The caller has to check the target and the time.
 *
 * @returns null for any other text
 */
export async function readRotation(
  text: string,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<Rotation | null> {
  if (text.length > ROTATION_LIMITS.characters) return null;
  const [, payload = '', former = '', next = ''] = FORM.exec(text) ?? [];
  const claims = toClaims(fromBase64Url(payload));
  if (claims === null) return null;
  const { formerKey, nextKey } = claims;
  const message = toUtf8(ROTATION_LABEL + payload);
  const isSignedBy = (key: Uint8Array, signature: string) => isSigned(crypto, key, signature, message);
  if (!(await isSignedBy(formerKey, former)) || !(await isSignedBy(nextKey, next))) return null;
  const formerId = await deviceIdOf(formerKey, crypto);
  const nextId = await deviceIdOf(nextKey, crypto);
  return { ...claims, formerId, nextId, text };
}

const FORM = /^([\w-]+)\.([\w-]{86})\.([\w-]{86})$/;

/** Whether a statement is accepted at this time, Unix milliseconds. */
export function isInTime({ issuedAt }: Pick<Rotation, 'issuedAt'>, nowMs: number): boolean {
  const ageMs = nowMs - issuedAt * 1000;
  return ageMs >= -ROTATION_LIMITS.aheadSeconds * 1000 && ageMs <= ROTATION_LIMITS.lifeSeconds * 1000;
}

function toClaims(bytes: Uint8Array | null) {
  const value = bytes === null ? null : parseExactObject(bytes);
  if (value === null || Object.keys(value).join() !== 'old,new,target,iat') return null;
  const { old, new: next, target: targetId, iat: issuedAt } = value;
  if (typeof targetId !== 'string' || !isDeviceId(targetId) || !isSeconds(issuedAt)) return null;
  const [formerKey, nextKey] = [toKey(old), toKey(next)];
  if (formerKey === null || nextKey === null || equalBytes(formerKey, nextKey)) return null;
  return { formerKey, nextKey, targetId, issuedAt };
}

function toKey(value: unknown): Uint8Array | null {
  const point = typeof value === 'string' && value.length === 44 ? fromBase64Url(value) : null;
  return point?.length === 33 && (point[0] === 2 || point[0] === 3) ? point : null;
}

/** Unix seconds up to the year 5138. */
function isSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 1e11;
}

async function isSigned(
  crypto: Pick<CryptoProvider, 'importPublicKey'>,
  point: Uint8Array,
  text: string,
  message: Uint8Array,
): Promise<boolean> {
  const signature = fromBase64Url(text);
  if (signature?.length !== 64 || !isLowS(signature)) return false;
  try {
    const key = await crypto.importPublicKey(point);
    return (await key.verify(signature, message)) === true;
  } catch {
    return false; // not a point on the curve
  }
}
