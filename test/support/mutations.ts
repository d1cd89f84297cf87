import type { RawRequest } from './signed-raw';

/** Random numbers that are the same for the same seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to below `limit`. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * limit);
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }
}

/** A request on its way to be sent; mutations change it in place. */
export interface Draft {
  line: string;
  /** `Name: value` */
  headers: string[];
  body: Buffer;
  /** How the end of the body is announced. */
  framing: 'length' | 'chunked' | 'both' | 'none';
}

type Mutation = (draft: Draft, random: Random, other: RawRequest) => void;

const HEADERS = [
  'Host: other.example',
  'Host: api.example.com',
  'X-Forwarded-Host: other.example',
  'X-HTTP-Method-Override: DELETE',
  'X-Original-URL: /admin',
  'Content-Type: application/x-www-form-urlencoded',
  'Content-Encoding: gzip',
  'Content-Length: 0',
  'Content-Length: 1',
  'Content-Length: 4',
  'Content-Length: +4',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding : chunked',
  'Trailer: Content-Digest',
  'Expect: 100-continue',
  'Connection: close, Authorization',
  'Connection: Upgrade',
  'Upgrade: h2c',
  'Authorization: Bearer token',
  'Content-Digest: sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:',
  'Range: bytes=0-0',
];
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH', 'get', 'QUERY', 'CONNECT', ''];
const SPELLINGS: readonly ((target: string) => string)[] = [
  (target) => target.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  (target) => target.replace(/[a-z]/, (letter) => letter.toUpperCase()),
  (target) => `/.${target}`,
  (target) => `/x/..${target}`,
  (target) => `/%2e${target}`,
  (target) => `/${target}`,
  (target) => target.replace('/', '\\'),
  (target) => target.replaceAll('/', '%2F'),
  (target) => `${target}#x`,
  (target) => `${target}?`,
  (target) => `${target}&a=2`,
  (target) => `${target};a=2`,
  (target) => `${target}/`,
  (target) => target.replace('?', '%3F'),
  (target) => target.replace('=', '%3D'),
  (target) => `http://other.example${target}`,
  (target) => `http://user@127.0.0.1${target}`,
  (target) => `${target}\t`,
  (target) => `${target} HTTP/1.0 `,
  () => '*',
  () => '/admin',
];
const CHARACTERS = [
  '\0',
  '\r',
  '\n',
  '\r\n',
  ' ',
  '\t',
  ',',
  ';',
  ':',
  '"',
  '=',
  '%',
  '/',
  '\\',
  'a',
  'é',
  '\x7f',
];

const mutations: readonly Mutation[] = [
  function method(draft, random) {
    draft.line = draft.line.replace(/^\S+/, random.pick(METHODS));
  },
  function target(draft, random) {
    const spell = random.pick(SPELLINGS);
    draft.line = draft.line.replace(/^(\S* )(\S+)/, (_all, before, target) => before + spell(target));
  },
  function version(draft, random) {
    draft.line = draft.line.replace(
      /HTTP\/1\.1$/,
      random.pick(['HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'HTTP/1.1 ', '']),
    );
  },
  function lineCharacter(draft, random) {
    draft.line = changed(draft.line, random);
  },
  function added(draft, random) {
    draft.headers.splice(random.below(draft.headers.length + 1), 0, random.pick(HEADERS));
  },
  function removed(draft, random) {
    draft.headers.splice(random.below(draft.headers.length), 1);
  },
  function doubled(draft, random) {
    const line = random.pick(draft.headers) ?? '';
    draft.headers.splice(
      random.below(draft.headers.length + 1),
      0,
      random.below(2) === 0 ? line : changed(line, random),
    );
  },
  function swapped(draft, random) {
    const [i, j] = [random.below(draft.headers.length), random.below(draft.headers.length)];
    [draft.headers[i], draft.headers[j]] = [draft.headers[j] ?? '', draft.headers[i] ?? ''];
  },
  function headerCharacter(draft, random) {
    const at = random.below(draft.headers.length);
    draft.headers[at] = changed(draft.headers[at] ?? '', random);
  },
  function folded(draft, random) {
    const at = random.below(draft.headers.length);
    draft.headers[at] = (draft.headers[at] ?? '').replace(
      ': ',
      random.pick([':\r\n ', ' : ', ':', ':\t', ':\n\t']),
    );
  },
  function fromAnother(draft, random, other) {
    const line = random.pick(other.headers);
    const name = line.slice(0, line.indexOf(':'));
    const at = draft.headers.findIndex((header) => header.startsWith(`${name}:`));
    if (at === -1 || random.below(2) === 0) draft.headers.push(line);
    else draft.headers[at] = line;
  },
  function anotherBody(draft, _random, other) {
    draft.body = Buffer.from(other.body);
  },
  function bodyByte(draft, random) {
    if (draft.body.length === 0) draft.body = Buffer.from('x');
    else draft.body[random.below(draft.body.length)] = random.below(256);
  },
  function cut(draft, random) {
    draft.body = draft.body.subarray(0, random.below(draft.body.length + 1));
  },
  function longer(draft, random) {
    draft.body = Buffer.concat([
      draft.body,
      Buffer.from(random.pick(['x', '\0', '\r\n', '0\r\n\r\n', 'GET /admin HTTP/1.1\r\n\r\n'])),
    ]);
  },
  function framing(draft, random) {
    draft.framing = random.pick(['length', 'chunked', 'both', 'none']);
  },
];

function changed(text: string, random: Random): string {
  const at = random.below(text.length + 1);
  const cut = random.below(3);
  return text.slice(0, at) + (cut === 2 ? '' : random.pick(CHARACTERS)) + text.slice(at + Math.min(cut, 1));
}

/** One to three changes of a signed request, of everything that stands in one. */
export function mutate(request: RawRequest, other: RawRequest, random: Random): Draft {
  const draft: Draft = {
    line: request.line,
    headers: [...request.headers],
    body: Buffer.from(request.body),
    framing: request.body.length === 0 ? 'none' : random.pick(['length', 'length', 'chunked']),
  };
  for (let count = 1 + random.below(3); count > 0; count--) random.pick(mutations)(draft, random, other);
  return draft;
}

/** The bytes of a request; sometimes one more of them is another. */
export function toBytes({ line, headers, body, framing }: Draft, random: Random): Buffer {
  const lines = [line, ...headers];
  if (framing === 'length' || framing === 'both') lines.push(`Content-Length: ${body.length}`);
  if (framing === 'chunked' || framing === 'both') lines.push('Transfer-Encoding: chunked');
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  const half = random.below(body.length + 1);
  const isChunked = framing === 'chunked' || framing === 'both';
  const parts = isChunked
    ? [body.subarray(0, half), body.subarray(half)].filter((part) => part.length > 0)
    : [];
  const chunks = parts.flatMap((part) => [
    Buffer.from(`${part.length.toString(16)}${random.pick(['', ';a=b', ';'])}\r\n`),
    part,
    Buffer.from('\r\n'),
  ]);
  const bytes = Buffer.concat([head, ...(isChunked ? [...chunks, Buffer.from('0\r\n\r\n')] : [body])]);
  if (random.below(8) === 0) bytes[random.below(bytes.length)] = random.below(256);
  return bytes;
}
