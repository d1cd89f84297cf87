import { fromBase64 } from '../encoding';
import { type Fault, malformed } from '../errors/fault';
import { DERIVED } from './base';
import { type Credentials, isDeviceId, isNonce, TAG } from './credentials';
import { type Item, type Member, type Parameters, readDictionary, writeList } from './dictionary';

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
  const own = readOwn(inputs, signatures);
  if (own !== null) return own;
  const input = readLines(inputs);
  const values = readLines(signatures);
  if (input === null || values === null)
    return malformed(
      'Signature-Input or Signature is not a strict RFC 8941 dictionary of at most 8 signatures.',
    );
  // All signatures are read, not only ours: readers might disagree about a field that is partly malformed.
  let ours: Credentials | Fault | null = null;
  for (const [label, { items, parameters }] of input) {
    const value = values.get(label);
    if (items === null || value === undefined || !isBytes(value))
      return malformed('Each label needs a list in Signature-Input and a byte sequence in Signature.');
    if (parameters.get('tag') !== OUR_TAG) continue;
    if (ours !== null) return malformed('Several signatures are tagged amesh.');
    ours = readMember({ items, parameters }, value);
  }
  if (input.size !== values.size)
    return malformed('Each label needs a list in Signature-Input and a byte sequence in Signature.');
  return ours;
}

const OWN_INPUT =
  /^amesh=(\("(@method" "@authority" "@path" "@query(?:" "[a-z-]+)*)"\);created=(0|[1-9]\d{0,11});nonce="([\w-]{22})";keyid="(am_[\w-]{16})";tag="amesh")$/;
const OWN_SIGNATURE = /^amesh=:([A-Za-z0-9+/]{86}==):$/;

/**
 * Reads exactly the text that our own client writes, if nothing else is in the field: that takes a quarter of the time. Null for
 * any other text.
 */
function readOwn(inputs: readonly string[], signatures: readonly string[]): Credentials | null {
  const [text = '', value = ''] = [inputs[0], signatures[0]];
  if (inputs.length !== 1 || signatures.length !== 1 || text.length > MAX_BYTES) return null;
  const input = OWN_INPUT.exec(text);
  const signature = input && fromBase64(OWN_SIGNATURE.exec(value)?.[1] ?? '');
  if (input === null || signature?.length !== 64) return null;
  const [, parameters = '', names = '', created, nonce = '', deviceId = ''] = input;
  const covered = names.split('" "');
  if (covered.length > MAX_COMPONENTS || covered.some((name, i) => covered.indexOf(name) !== i)) return null;
  return { form: 'rfc9421', deviceId, created: Number(created), nonce, signature, covered, parameters };
}

/**
 * A string of RFC 8941 section 3.3.3; its content, if that can be the name of a field. A string without an end goes on to the end of
 * the text: if it did not match, each quote in it would be searched again, up to the end.
 */
const STRING = /"(?:([!#$%&'*+.^_`|~0-9a-z-]+)"|(?:[^"\\]|\\.?)*(?:"|$))/gs;

/**
 * The names of fields that signatures may cover, for a transport that gives only those lines to the view of a request. Other strings
 * may be among them.
 *
 * @param inputs the lines of `Signature-Input`
 */
export function namesIn(inputs: readonly string[]): Set<string> {
  const names = new Set<string>();
  const text = inputs.join(', ');
  if (text.length > MAX_BYTES) return names; // it is refused
  let more = MAX_SEPARATORS + 1;
  for (const [, name] of text.matchAll(STRING)) {
    if (more-- === 0) break; // likewise, since there is a separator between two strings
    if (name !== undefined) names.add(name);
  }
  return names;
}

const OUR_TAG = `"${TAG}"`;

function isBytes({ items, value }: Member): boolean {
  return items === null && value.startsWith(':');
}

function readMember(
  { items, parameters }: { items: readonly Item[]; parameters: Parameters },
  value: Member,
): Credentials | Fault {
  const signature = value.parameters.size === 0 ? fromBase64(value.value.slice(1, -1)) : null;
  if (signature?.length !== 64) return malformed('A P-256 signature must be r‖s, 64 bytes.');
  if (items.length > MAX_COMPONENTS) return malformed('There are more than 32 components.');
  const covered: string[] = [];
  for (const item of items) {
    const name = item.value.slice(1, -1);
    // A component with a parameter is another component. Ignoring the parameter would check less than was signed.
    const isTaken =
      item.value.startsWith('"') &&
      item.parameters.size === 0 &&
      !covered.includes(name) &&
      (name.startsWith('@') ? (DERIVED as readonly string[]).includes(name) : FIELD_NAME.test(name));
    if (!isTaken) return malformed('A component is duplicated, or not implemented.');
    covered.push(name);
  }
  for (const name of parameters.keys()) if (!PARAMETERS.has(name)) return badParameter(name);
  const { created, expires, alg = ALG } = Object.fromEntries(parameters);
  const nonce = textOf(parameters.get('nonce'));
  const deviceId = textOf(parameters.get('keyid'));
  if (created === undefined || !SECONDS.test(created)) return badParameter('created');
  if (expires !== undefined && !SECONDS.test(expires)) return badParameter('expires');
  if (!isNonce(nonce)) return badParameter('nonce');
  if (!isDeviceId(deviceId)) return badParameter('keyid');
  if (alg !== ALG) return badParameter('alg');
  return {
    form: 'rfc9421',
    deviceId,
    created: Number(created),
    expires: expires === undefined ? undefined : Number(expires),
    nonce,
    signature,
    covered,
    parameters: writeList({ items, parameters }),
  };
}

const ALG = '"ecdsa-p256-sha256"';
/** Unix seconds below 10^12. */
const SECONDS = /^\d{1,12}$/;

/** The content of a string without escapes; empty for any other value. */
function textOf(value = ''): string {
  return value.startsWith('"') ? value.slice(1, -1) : '';
}

function badParameter(name: string): Fault {
  return malformed(`The parameter ${name} is missing, malformed, or not implemented.`);
}

function readLines(lines: readonly string[]): ReadonlyMap<string, Member> | null {
  const text = lines.join(', ');
  return text.length > MAX_BYTES || countSeparators(text) > MAX_SEPARATORS
    ? null
    : readDictionary(text, MAX_SIGNATURES);
}

function countSeparators(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x20 || code === 0x09 || code === 0x2c || code === 0x3b) count++;
  }
  return count;
}
