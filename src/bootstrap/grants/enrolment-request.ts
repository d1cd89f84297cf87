import type { Signer } from '../../core/crypto/provider';
import { fromBase64Url, toBase64Url, toUtf8 } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { hasExactly, parseObject } from '../../core/strict-json';
import { isDeviceId, isNonce } from '../../core/wire/credentials';
import { TOKEN_LABELS } from '../../core/wire/labels';
import { BOOTSTRAP_CODES } from '../errors/codes';

/** The claims of a caller that enrols, signed with the grant's key and its own. */
export interface EnrolmentFacts {
  /** The ID of the grant. */
  readonly grant: string;
  /** The caller's public key, 33 bytes in base64url. */
  readonly key: string;
  /** The name that it wants. */
  readonly name: string;
  /** The device ID of the target. */
  readonly target: string;
  /** The host under which the target is called, in normal form. */
  readonly authority: string;
  /** Unix seconds. */
  readonly time: number;
  /** 16 random bytes in base64url. */
  readonly nonce: string;
}

/** A well-formed enrolment. None of it is proven yet. */
export interface Enrolment {
  readonly facts: EnrolmentFacts;
  /** The bytes that both keys signed. */
  readonly message: Uint8Array;
  /** 64 bytes. */
  readonly grantSignature: Uint8Array;
  /** 64 bytes. */
  readonly callerSignature: Uint8Array;
}

const MEMBERS = ['authority', 'grant', 'key', 'name', 'nonce', 'target', 'time'];

/** The body of an enrolment: the facts in base64url and their two signatures, separated by full stops. */
export async function writeEnrolment(facts: EnrolmentFacts, grant: Signer, caller: Signer): Promise<string> {
  const payload = toBase64Url(toUtf8(JSON.stringify(facts)));
  const message = messageOf(payload);
  const signatures = [await grant.sign(message), await caller.sign(message)].map(toBase64Url);
  return [payload, ...signatures].join('.');
}

/**
 * Parses the output of {@link writeEnrolment}.
 *
 * @throws AmeshError `enrolment_malformed`
 */
export function parseEnrolment(body: Uint8Array): Enrolment {
  const text = new TextDecoder().decode(body);
  const [, payload = '', ...signatures] = /^([\w-]+)\.([\w-]{86})\.([\w-]{86})$/.exec(text) ?? [];
  const [grantSignature, callerSignature] = signatures.map(fromBase64Url);
  const facts = parseFacts(fromBase64Url(payload));
  if (facts === null || !grantSignature || !callerSignature)
    throw new AmeshError(BOOTSTRAP_CODES.enrolment_malformed);
  return { facts, message: messageOf(payload), grantSignature, callerSignature };
}

function parseFacts(bytes: Uint8Array | null): EnrolmentFacts | null {
  const object = bytes === null ? null : parseObject(bytes);
  if (!hasExactly(object, MEMBERS)) return null;
  const facts = object as unknown as EnrolmentFacts; // the names are right, the types are checked next
  const { grant, key, name, target, authority, time, nonce } = facts;
  const texts = [grant, key, name, target, authority, nonce].every((text) => typeof text === 'string');
  return texts && [grant, nonce].every(isNonce) && isDeviceId(target) && Number.isSafeInteger(time)
    ? facts
    : null;
}

function messageOf(payload: string): Uint8Array {
  return toUtf8(TOKEN_LABELS.enrolment + payload);
}
