import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/core/errors/fault';
import { withoutMembers } from '../../src/core/wire/dictionary';
import { readContentDigest } from '../../src/core/wire/digest';
import { readSignatureFields } from '../../src/core/wire/fields';
import { signed } from '../support/core';
import { times } from '../support/full';
import { readByLibrary, readDigestByLibrary, withoutTagByLibrary } from '../support/library-fields';
import { expectSame } from '../support/same';

const BYTES = Buffer.alloc(64, 7).toString('base64');
const PARAMETERS =
  'created=1764000000;nonce="QiD0ZcAtLN2eRAHztWdPHw";keyid="am_JcilCdVPFver17J0";tag="amesh"';

function readByHand(input: string, signature: string) {
  const read = readSignatureFields([input], [signature]);
  if (read === null) return 'none';
  if (read instanceof Fault) return 'malformed';
  const { covered, created, expires, nonce, deviceId, parameters } = read;
  const bytes = Buffer.from(read.signature).toString('hex');
  return { covered, created, expires, nonce, keyid: deviceId, signature: bytes, parameters };
}

/** Fields that readers accept, from which others are made. */
async function originals(): Promise<[string, string][]> {
  const own = await signed(
    { method: 'POST', body: new Uint8Array(9), headers: { 'content-type': 'a/b' } },
    { format: 'rfc9421' },
  );
  return [
    [String(own.headers['signature-input']), String(own.headers.signature)],
    [`amesh=("@method" "@path");${PARAMETERS};expires=1764000060`, `amesh=:${BYTES}:`],
    [
      `a=("@method";req "x" tok -5 1.25 ?0 ?1 :AAA=:);p;q="a\\"b";r=?0, b=( "@path"  "date" ); ${PARAMETERS};alg="ecdsa-p256-sha256"`,
      `a=:AA==:;v=1.5, b=:${BYTES}:`,
    ],
    [`other=("@method");created=1;keyid="k",\t amesh=();${PARAMETERS}`, `amesh=:${BYTES}: , other=::`],
    ['other=("@status");tag="other"', 'other=:AAAA:'],
    ['sig=1, flag, x;y', 'sig=:AAAA:'],
  ];
}

const PIECES = [
  ...[' ', '\t', '  ', ',', ', ', ';', '=', '"', '\\', '(', ')', ':', '?1', '=?1', '=?0', '0', '-0', '-1'],
  ...['1.0', '1.5', '.5', '00', '999999999999999', '1234567890123456', '123456789012.123', '1e3', 'A', 'Aé'],
  ...['*', 'tag="amesh"', ';tag="amesh"', ';created=1', ';created', 'amesh', '@1', '%"a"', ':AB==:', ':AA:'],
  ...['"@path"', ' "x"', ';sf', '__proto__', '\u0000', '\u007f', ';nonce', ':', 'a=1, '],
] as const;

/** One change of a text: a piece put in, a part taken out, or a part repeated. */
const change = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  length: fc.nat(12),
  piece: fc.constantFrom(...PIECES),
  kind: fc.constantFrom('put', 'take', 'replace', 'repeat'),
});

function apply(text: string, { at, length, piece, kind }: { at: number } & Record<string, unknown>): string {
  const start = Math.floor(at * (text.length + 1));
  const end = start + (length as number);
  const [before, part, after] = [text.slice(0, start), text.slice(start, end), text.slice(end)];
  if (kind === 'put') return before + piece + part + after;
  if (kind === 'take') return before + after;
  return kind === 'replace' ? before + piece + after : before + part + part + after;
}

const VALUES = [
  ...[
    '',
    '=1',
    '=-1',
    '=0',
    '=-0',
    '=01',
    '=1.0',
    '=1.5',
    '=-0.5',
    '=-0.0',
    '=00.5',
    '=1.50',
    '=1.1234',
    '=.5',
    '=5.',
  ],
  ...[
    '=999999999999999',
    '=9999999999999999',
    '=123456789012.125',
    '=1234567890123.5',
    '="a b"',
    '="\\""',
    '="\\a"',
  ],
  ...[
    '="é"',
    '="\t"',
    '=tok/*:',
    '=*',
    '=?0',
    '=?1',
    '=?2',
    '=::',
    '=:AA==:',
    '=:AB==:',
    '=:AAA=:',
    '=:AAB=:',
    '=:AAA:',
  ],
  ...['=:A===:', '=:AAAA', '=:-_==:', '=@1', '=%"a"', '=(1)', '=', ' =1', '= 1'],
] as const;
const KEYS = ['a', 'b', '*', 'a-b.c_*', 'A', '1', '_', ''] as const;
const key = fc.oneof({ weight: 6, arbitrary: fc.constantFrom('a', 'b') }, fc.constantFrom(...KEYS));
const parameters = fc
  .array(fc.tuple(fc.constantFrom(';', ';', ';', '; ', ' ;', ';\t'), key, fc.constantFrom(...VALUES)), {
    maxLength: 2,
  })
  .map((parts) => parts.flat().join(''));
const item = fc
  .tuple(fc.constantFrom(...VALUES), parameters)
  .map(([value, own]) => value.replace(/^ ?=/, '') + own);
const list = fc
  .tuple(
    fc.constantFrom('', ' ', '\t'),
    fc.array(item, { maxLength: 2 }),
    fc.constantFrom(' ', ' ', '  ', ''),
    parameters,
  )
  .map(([edge, items, space, own]) => `(${edge}${items.join(space)}${edge})${own}`);
const comma = fc.constantFrom(', ', ',', '\t,  ', ' ', ',,', ', ,');

describe('our reader of fields', () => {
  it('finds what a library finds in fields that are put together at random', () => {
    const found = { read: 0, none: 0, malformed: 0 };
    fc.assert(
      fc.property(key, list, item, comma, (label, components, value, between) => {
        const input = `${label}=${components}${between}amesh=("@path");${PARAMETERS}`;
        const signature = `${label}=:AAAA:${between}amesh=:${BYTES}:`;
        const pairs: [string, string][] = [
          [input, signature],
          [`${label}=${components}`, `${label}=:AAAA:`],
        ];
        for (const [first, second] of pairs) {
          const expected = readByLibrary(first, second);
          expectSame(readByHand(first, second), expected);
          found[typeof expected === 'string' ? (expected as 'none') : 'read']++;
        }
        const digest = `${label}=${value}${between}sha-256=:${Buffer.alloc(32, 9).toString('base64')}:`;
        expectSame(readContentDigest(digest) !== null, readDigestByLibrary(digest) !== null);
      }),
      { numRuns: times(5000, 50_000) },
    );
    expect(Math.min(...Object.values(found))).toBeGreaterThan(100);
  });

  it('finds what a library finds, and refuses what it refuses, in mutated fields', async () => {
    const texts = await originals();
    const found = { read: 0, none: 0, malformed: 0 };
    fc.assert(
      fc.property(
        fc.constantFrom(...texts),
        fc.array(change, { maxLength: 3 }),
        fc.array(change, { maxLength: 1 }),
        ([input, signature], inputChanges, changes) => {
          const changed = [inputChanges.reduce(apply, input), changes.reduce(apply, signature)] as const;
          const expected = readByLibrary(...changed);
          expectSame(readByHand(...changed), expected);
          found[typeof expected === 'string' ? (expected as 'none') : 'read']++;
        },
      ),
      { numRuns: times(5000, 50_000) },
    );
    // Otherwise nothing would be compared but refusals.
    expect(Math.min(...Object.values(found))).toBeGreaterThan(100);
  });

  it('leaves out the same members, and writes the others like a library', async () => {
    const texts = (await originals()).flat();
    const found = { left: 0, none: 0, malformed: 0 };
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.array(change, { maxLength: 3 }), (text, changes) => {
        const changed = changes.reduce(apply, text);
        const left = withoutMembers([changed], (_, tag) => tag === '"amesh"');
        expectSame(left, withoutTagByLibrary(changed, 'amesh'));
        found[left === null ? 'malformed' : left === '' ? 'none' : 'left']++;
      }),
      { numRuns: times(5000, 50_000) },
    );
    expect(Math.min(...Object.values(found))).toBeGreaterThan(100);
  });

  it('reads at most 64 members where it leaves some out', () => {
    const lines = Array.from({ length: 64 }, (_, i) => `a${i}`);
    expect(withoutMembers(lines, (label) => label !== 'a63')).toBe('a63');
    expect(withoutMembers([...lines, 'b'], () => true)).toBe(null);
  });

  it('finds the same digests', () => {
    const digest = Buffer.alloc(32, 9).toString('base64');
    const texts = [
      `sha-256=:${digest}:`,
      `sha-512=:${BYTES}:, sha-256=:${digest}:`,
      `sha-256=:${digest}:;a=1,\tmd5=(:AAAA: "x"), flag;y="z", n=1.5`,
    ];
    let read = 0;
    fc.assert(
      fc.property(fc.constantFrom(...texts), fc.array(change, { maxLength: 2 }), (text, changes) => {
        const changed = changes.reduce(apply, text);
        const found = readContentDigest(changed);
        expectSame(found && Buffer.from(found).toString('hex'), readDigestByLibrary(changed));
        if (found !== null) read++;
      }),
      { numRuns: times(3000, 30_000) },
    );
    expect(read).toBeGreaterThan(300);
  });

  it.each([
    ['a date', '@1764000000'],
    ['a display string', '%"a"'],
  ])('refuses %s, which RFC 8941 does not have', (_, value) => {
    const input = `other=("@method");p=${value}, amesh=("@path");${PARAMETERS}`;
    expect(readByHand(input, `other=:AAAA:, amesh=:${BYTES}:`)).toBe('malformed');
  });
});
