import {
  type Dictionary,
  DisplayString,
  type InnerList,
  type Item,
  type Parameters,
  parseDictionary,
  serializeDictionary,
  serializeInnerList,
} from 'structured-headers';

/** What a library for structured fields finds in the two fields of a signature tagged amesh; `malformed` for what it refuses. */
export function readByLibrary(input: string, signature: string) {
  const inputs = parse(input);
  const values = parse(signature);
  if (inputs === null || values === null || inputs.size > 8 || inputs.size !== values.size)
    return 'malformed';
  for (const [label, member] of inputs) {
    const value = values.get(label)?.[0];
    if (!Array.isArray(member[0]) || !(value instanceof ArrayBuffer)) return 'malformed';
  }
  const ours = [...inputs].filter(([, [, parameters]]) => parameters.get('tag') === 'amesh');
  if (ours.length !== 1) return ours.length === 0 ? 'none' : 'malformed';
  const [label, member] = ours[0] as [string, InnerList];
  return readMember(member, values.get(label) as Item);
}

const DERIVED = ['@method', '@authority', '@path', '@query'];

function readMember(member: InnerList, [bytes, others]: Item) {
  const [items, parameters] = member;
  const covered = items.map(([name]) => name);
  const areNames = items.every(
    ([name, own]) =>
      typeof name === 'string' &&
      own.size === 0 &&
      (DERIVED.includes(name) || /^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)),
  );
  const known = ['created', 'expires', 'nonce', 'alg', 'keyid', 'tag'];
  const { created, expires, nonce, keyid, alg } = Object.fromEntries(parameters);
  const isRead =
    areNames &&
    covered.length <= 32 &&
    new Set(covered).size === covered.length &&
    others.size === 0 &&
    (bytes as ArrayBuffer).byteLength === 64 &&
    [...parameters.keys()].every((name) => known.includes(name)) &&
    areSeconds(created) &&
    (expires === undefined || areSeconds(expires)) &&
    /^[\w-]{22}$/.test(typeof nonce === 'string' ? nonce : '') &&
    /^am_[\w-]{16}$/.test(typeof keyid === 'string' ? keyid : '') &&
    (alg === undefined || alg === 'ecdsa-p256-sha256');
  if (!isRead) return 'malformed';
  const signature = Buffer.from(bytes as ArrayBuffer).toString('hex');
  return { covered, created, expires, nonce, keyid, signature, parameters: serializeInnerList(member) };
}

function areSeconds(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) < 1e12;
}

/** The SHA-256 digest in a Content-Digest, in hexadecimal digits; null if the library finds none. */
export function readDigestByLibrary(text: string): string | null {
  const value = parse(text)?.get('sha-256')?.[0];
  return value instanceof ArrayBuffer && value.byteLength === 32 ? Buffer.from(value).toString('hex') : null;
}

/** A dictionary without the members that have a tag, as a library writes it; null for what it refuses. */
export function withoutTagByLibrary(text: string, tag: string): string | null {
  const found = parse(text);
  if (found === null) return null;
  return serializeDictionary(new Map([...found].filter(([, member]) => member[1].get('tag') !== tag)));
}

/** Null for what the library refuses, reads as something that is written differently, or that RFC 8941 does not have. */
function parse(text: string): Dictionary | null {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0; // the library throws at most texts, and nobody looks at the stacks
  try {
    const found = parseDictionary(text);
    const isSame = withoutSpaces(serializeDictionary(found)) === withoutSpaces(text);
    return isSame && ![...found.values()].some(hasNewType) ? found : null;
  } catch {
    return null;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function hasNewType(member: Item | InnerList): boolean {
  const isNew = (value: unknown) => value instanceof Date || value instanceof DisplayString;
  const [value, parameters] = member as [unknown, Parameters];
  return (
    [...parameters.values()].some(isNew) ||
    (Array.isArray(value) ? (value as Item[]).some(hasNewType) : isNew(value))
  );
}

function withoutSpaces(text: string): string {
  return text.replace(/[ \t]/g, '');
}
