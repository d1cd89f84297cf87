import {
  type Dictionary,
  type InnerList,
  type Parameters,
  parseDictionary,
  serializeDictionary,
  serializeInnerList,
} from 'structured-headers';
import { type Credentials, isDeviceId, isNonce, TAG } from './credentials';
import { type Fault, malformed } from './fault';
import { DERIVED } from './signature-base';

/** Bounds on what a stranger may make us parse. */
const MAX_BYTES = 8192;
const MAX_SIGNATURES = 8;
const MAX_COMPONENTS = 32;
/** What separates items; 8 signatures with 32 components and 6 parameters each have 310. */
const MAX_SEPARATORS = 400;

const UNPAIRED = 'A label stands in only one of Signature and Signature-Input.';
const PARAMETERS = new Set(['created', 'expires', 'nonce', 'alg', 'keyid', 'tag']);
const FIELD_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

/**
 * Finds the signature tagged amesh in `Signature-Input` and `Signature`. The tag decides, never the label.
 *
 * @returns null where no signature has our tag
 * @see RFC 9421 section 4
 */
export function readSignatureFields(
  inputs: readonly string[],
  signatures: readonly string[],
): Credentials | Fault | null {
  if (inputs.length === 0) return malformed('There is a Signature without a Signature-Input.');
  if (signatures.length === 0) return malformed('There is a Signature-Input without a Signature.');

  const input = readDictionary(inputs);
  const values = readDictionary(signatures);
  if (input === null || values === null)
    return malformed('Signature-Input or Signature is not a strict RFC 9651 dictionary.');
  if (input.size > MAX_SIGNATURES || values.size > MAX_SIGNATURES)
    return malformed('There are more than 8 signatures.');
  // Of the others nothing is wanted, but a field that one reader may understand in another way is none to go by.
  for (const [label, member] of input) {
    if (!values.has(label)) return malformed(UNPAIRED);
    if (!isInnerList(member)) return malformed('A member of Signature-Input is not a list of components.');
  }
  for (const [label, [value]] of values) {
    if (!input.has(label)) return malformed(UNPAIRED);
    if (!(value instanceof ArrayBuffer)) return malformed('A member of Signature is not a byte sequence.');
  }

  const ours = [...input].filter(([, member]) => member[1].get('tag') === TAG);
  const [first] = ours;
  if (first === undefined) return null;
  if (ours.length > 1) return malformed('Several signatures are tagged amesh.');
  const [label, member] = first;
  const [signature, parameters] = values.get(label) as [ArrayBuffer, Parameters];
  if (parameters.size > 0 || signature.byteLength !== 64) {
    return malformed('A P-256 signature is r‖s, 64 bytes.');
  }
  return readMember(member as InnerList, new Uint8Array(signature));
}

function isInnerList(member: unknown): member is InnerList {
  return Array.isArray((member as InnerList)[0]);
}

function readMember(member: InnerList, signature: Uint8Array): Credentials | Fault {
  const [items, parameters] = member;
  if (items.length > MAX_COMPONENTS) return malformed('The signature covers more than 32 components.');
  const covered: string[] = [];
  for (const [name, itemParameters] of items) {
    if (typeof name !== 'string') return malformed('A covered component is not a string.');
    // A component with a parameter is another one, and whoever skips the parameter accepts less than was checked.
    if (itemParameters.size > 0)
      return malformed('A covered component has a parameter; none is implemented.');
    if (name.startsWith('@') ? !(DERIVED as readonly string[]).includes(name) : !FIELD_NAME.test(name)) {
      return malformed('A covered component is not implemented, or not in lower case.');
    }
    if (covered.includes(name)) return malformed('A component is covered twice.');
    covered.push(name);
  }
  for (const name of parameters.keys()) {
    if (!PARAMETERS.has(name)) return malformed('A signature parameter is not implemented.');
  }
  const created = parameters.get('created');
  const expires = parameters.get('expires');
  const nonce = parameters.get('nonce');
  const keyid = parameters.get('keyid');
  const alg = parameters.get('alg');
  if (!isUnixSeconds(created)) return malformed('The parameter created is not in Unix seconds.');
  if (expires !== undefined && !isUnixSeconds(expires))
    return malformed('The parameter expires is not in Unix seconds.');
  if (typeof nonce !== 'string' || !isNonce(nonce))
    return malformed('The parameter nonce is not of 22 base64url characters.');
  if (typeof keyid !== 'string' || !isDeviceId(keyid))
    return malformed('The parameter keyid is no device id.');
  if (alg !== undefined && alg !== 'ecdsa-p256-sha256')
    return malformed('The parameter alg is not ecdsa-p256-sha256.');
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

function isUnixSeconds(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 1e12;
}

/**
 * Parses a dictionary and compares it with its own serialisation, spaces aside. The parser by itself lets the last
 * of two equal keys win and reads `1.0` as the integer 1.
 */
function readDictionary(lines: readonly string[]): Dictionary | null {
  const text = lines.join(', ');
  // Counted before it is parsed: many small items cost the parser as much as dozens of signatures.
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
