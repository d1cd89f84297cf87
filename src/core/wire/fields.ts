import {
  type Dictionary,
  type InnerList,
  type Parameters,
  parseDictionary,
  serializeDictionary,
  serializeInnerList,
} from 'structured-headers';
import { type Fault, malformed } from '../errors/fault';
import { DERIVED } from './base';
import { type Credentials, isDeviceId, isNonce, TAG } from './credentials';

/** Limits on what a stranger can make us parse. */
const MAX_BYTES = 8192;
const MAX_SIGNATURES = 8;
const MAX_COMPONENTS = 32;
/** The most separators; 8 signatures with 32 components and 6 parameters each have 310. */
const MAX_SEPARATORS = 400;

const PARAMETERS = new Set(['created', 'expires', 'nonce', 'alg', 'keyid', 'tag']);
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

/**
 * Finds the signature tagged amesh in `Signature-Input` and `Signature`. The tag decides, not the label.
 *
 * @returns null if no signature has the tag
 * @see RFC 9421 section 4
 */
export function readSignatureFields(
  inputs: readonly string[],
  signatures: readonly string[],
): Credentials | Fault | null {
  const input = readDictionary(inputs);
  const values = readDictionary(signatures);
  if (input === null || values === null)
    return malformed('Signature-Input or Signature is not a strict RFC 9651 dictionary.');
  if (input.size > MAX_SIGNATURES) return malformed('There are more than 8 signatures.');
  // Also for other signatures: readers might disagree about a field that is partly malformed.
  const isPair = ([label, member]: [string, unknown[]]) =>
    Array.isArray(member[0]) && values.get(label)?.[0] instanceof ArrayBuffer;
  if (input.size !== values.size || ![...input].every(isPair))
    return malformed('Each label needs a list in Signature-Input and a byte sequence in Signature.');

  const ours = [...input].filter(([, member]) => member[1].get('tag') === TAG);
  const [first] = ours;
  if (first === undefined) return null;
  if (ours.length > 1) return malformed('Several signatures are tagged amesh.');
  const [label, member] = first;
  const [signature, parameters] = values.get(label) as [ArrayBuffer, Parameters];
  if (parameters.size > 0 || signature.byteLength !== 64) {
    return malformed('A P-256 signature must be r‖s, 64 bytes.');
  }
  return readMember(member as InnerList, new Uint8Array(signature));
}

function readMember(member: InnerList, signature: Uint8Array): Credentials | Fault {
  const [items, parameters] = member;
  if (items.length > MAX_COMPONENTS) return malformed('There are more than 32 components.');
  const covered: string[] = [];
  for (const [name, itemParameters] of items) {
    // A component with a parameter is another component. Ignoring the parameter would check less than was signed.
    const isTaken =
      typeof name === 'string' &&
      itemParameters.size === 0 &&
      !covered.includes(name) &&
      (name.startsWith('@') ? (DERIVED as readonly string[]).includes(name) : FIELD_NAME.test(name));
    if (!isTaken) return malformed('A component is duplicated, or not implemented.');
    covered.push(name);
  }
  for (const name of parameters.keys()) if (!PARAMETERS.has(name)) return badParameter(name);
  const created = parameters.get('created');
  const expires = parameters.get('expires');
  const nonce = parameters.get('nonce');
  const keyid = parameters.get('keyid');
  const alg = parameters.get('alg');
  if (!isUnixSeconds(created)) return badParameter('created');
  if (expires !== undefined && !isUnixSeconds(expires)) return badParameter('expires');
  if (typeof nonce !== 'string' || !isNonce(nonce)) return badParameter('nonce');
  if (typeof keyid !== 'string' || !isDeviceId(keyid)) return badParameter('keyid');
  if (alg !== undefined && alg !== 'ecdsa-p256-sha256') return badParameter('alg');
  return {
    form: 'rfc9421',
    deviceId: keyid,
    created,
    expires,
    nonce,
    signature,
    covered,
    parameters: serializeInnerList(member),
  };
}

function badParameter(name: string): Fault {
  return malformed(`The parameter ${name} is missing, malformed, or not implemented.`);
}

function isUnixSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 1e12;
}

/**
 * Parses a dictionary and compares it with its own serialisation, ignoring spaces: the parser alone accepts duplicate keys
 * and reads `1.0` as the integer 1.
 */
function readDictionary(lines: readonly string[]): Dictionary | null {
  const text = lines.join(', ');
  // Checked before parsing: many small items take as long to parse as dozens of signatures to verify.
  if (text.length > MAX_BYTES || countSeparators(text) > MAX_SEPARATORS) return null;
  try {
    const dictionary = parseDictionary(text);
    return withoutSpaces(serializeDictionary(dictionary)) === withoutSpaces(text) ? dictionary : null;
  } catch {
    return null;
  }
}

function countSeparators(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x20 || code === 0x09 || code === 0x2c || code === 0x3b) count++;
  }
  return count;
}

function withoutSpaces(text: string): string {
  return text.replace(/[ \t]/g, '');
}
