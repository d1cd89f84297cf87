import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../src/core/errors/fault';
import { readCredentials } from '../../src/core/verify/read';
import { signed, verifierAt } from '../support/core';
import { times } from '../support/full';

const codeOf = (headers: Parameters<typeof readCredentials>[0]) => {
  const read = readCredentials(headers);
  return read instanceof Fault ? read.code : 'read';
};

describe('limits on what a stranger may make us parse', () => {
  const ours = async () => (await signed({}, { format: 'rfc9421' })).headers;

  it('8 KiB', async () => {
    const { signature, 'signature-input': input } = await ours();
    const long = `x=("@method");keyid="${'k'.repeat(8200)}"`;
    expect(codeOf({ signature: `x=:AAAA:, ${signature}`, 'signature-input': `${long}, ${input}` })).toBe(
      'malformed_header',
    );
  });

  it('1024 characters of an AuthMesh header', async () => {
    const authorization = String((await signed({}, {})).headers.authorization);
    const padded = (length: number) =>
      authorization.replace(',', `,${' '.repeat(length - authorization.length)}`);
    expect(codeOf({ authorization: padded(1024) })).toBe('read');
    expect(codeOf({ authorization: padded(1025) })).toBe('malformed_header');
  });

  it('many small items, which cost the parser as much as dozens of signatures', async () => {
    const { signature, 'signature-input': input } = await ours();
    const items = Array.from({ length: 500 }, () => 'a').join(' ');
    expect(codeOf({ signature: `x=(${items}), ${signature}`, 'signature-input': String(input) })).toBe(
      'malformed_header',
    );
    expect(codeOf({ signature: String(signature), 'signature-input': `x=(${items}), ${input}` })).toBe(
      'malformed_header',
    );
  });

  it('8 signatures', async () => {
    const { signature, 'signature-input': input } = await ours();
    const others = (count: number, value: string) =>
      Array.from({ length: count }, (_, i) => `s${i}=${value}`).join(', ');
    const withOthers = (count: number) => ({
      signature: `${others(count, ':AAAA:')}, ${signature}`,
      'signature-input': `${others(count, '("@method");created=1')}, ${input}`,
    });
    expect(codeOf(withOthers(7))).toBe('read');
    expect(codeOf(withOthers(8))).toBe('malformed_header');
  });

  it('32 components', async () => {
    const headers = await ours();
    const cover = (count: number) => {
      const names = Array.from({ length: count - 4 }, (_, i) => `"x-${i}"`).join(' ');
      return {
        ...headers,
        'signature-input': String(headers['signature-input']).replace('"@query"', `"@query" ${names}`),
      };
    };
    expect(codeOf(cover(32))).toBe('read');
    expect(codeOf(cover(33))).toBe('malformed_header');
  });

  it('several lines of the fields are one list, as in RFC 9110', async () => {
    const headers = await ours();
    expect(
      codeOf({
        signature: ['other=:AAAA:', String(headers.signature)],
        'signature-input': ['other=("@method");created=1', String(headers['signature-input'])],
      }),
    ).toBe('read');
  });

  it.each([
    ['a parameter of the signature', 'signature-input', (text: string) => `${text};nonsense="1"`],
    ['a parameter of its value', 'signature', (text: string) => `${text};nonsense="1"`],
    ['a flag of its value', 'signature', (text: string) => `${text};nonsense`],
    ['a list in place of its value', 'signature', (text: string) => text.replace(/=(:.*:)/, '=($1)')],
    [
      'a text in place of its value',
      'signature',
      (text: string) => text.replace(/=:.*:/, `="${'A'.repeat(64)}"`),
    ],
    ['no list of components', 'signature-input', (text: string) => text.replace(/\(.*\)/, '"@method"')],
    ['a component as a token', 'signature-input', (text: string) => text.replace('"@method"', 'method')],
    [
      'a parameter of a component',
      'signature-input',
      (text: string) => text.replace('"@path"', '"@path";sf'),
    ],
    [
      'a keyid that is a token',
      'signature-input',
      (text: string) => text.replace(/keyid="(\w+)"/, 'keyid=$1'),
    ],
    [
      'a created that is negative',
      'signature-input',
      (text: string) => text.replace(/created=/, 'created=-'),
    ],
    ['an expires that is a decimal', 'signature-input', (text: string) => `${text};expires=1764000000.5`],
    ['an expires that is true', 'signature-input', (text: string) => `${text};expires`],
  ])('%s is not ignored', async (_, name, change) => {
    const headers = await ours();
    expect(codeOf(headers)).toBe('read');
    const changed = change(String(headers[name]));
    expect(changed).not.toBe(headers[name]);
    expect(codeOf({ ...headers, [name]: changed })).toBe('malformed_header');
  });

  it('any text in any header gets a response and never makes it throw', async () => {
    const verifier = verifierAt();
    const part = fc.constantFrom(
      'amesh',
      '=',
      '(',
      ')',
      '"@method"',
      ';',
      'created=1',
      ':AAAA:',
      ',',
      ' ',
      '"',
      'AuthMesh ',
      'v="2"',
      'id="am_',
      '\\',
      '?1',
      '@1',
      '%"',
      'é',
      '\u0000',
      '__proto__',
    );
    const value = fc.oneof(
      fc.string(),
      fc.array(part, { maxLength: 12 }).map((parts) => parts.join('')),
    );
    const name = fc.constantFrom(
      'authorization',
      'signature',
      'signature-input',
      'content-digest',
      'content-type',
      'host',
      'authmesh-target',
      '__proto__',
    );
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(name, fc.oneof(value, fc.array(value, { maxLength: 3 }))),
        value,
        value,
        async (headers, target, authority) => {
          expect(await verifier.verify({ method: 'GET', target, authority, headers })).toMatchObject({
            ok: false,
          });
        },
      ),
      { numRuns: times(600, 3000) },
    );
  });
});

describe('an AuthMesh header has only one way to say a thing', () => {
  it.each([
    ['a ts with a zero in front', (text: string) => text.replace('ts="', 'ts="0')],
    ['a ts of 13 digits', (text: string) => text.replace('ts="1', 'ts="1000')],
    ['a ts with an exponent', (text: string) => text.replace(/ts="\d+"/, 'ts="1e9"')],
    ['a ts with a sign', (text: string) => text.replace('ts="', 'ts="+')],
    ['a ts of other digits', (text: string) => text.replace(/ts="\d/, 'ts="\u0661')],
    ['no ts', (text: string) => text.replace(/ts="\d+"/, 'ts=""')],
    ['a nonce of 23 characters', (text: string) => text.replace('nonce="', 'nonce="A')],
    ['a nonce of another alphabet', (text: string) => text.replace(/nonce=".../, 'nonce="+/=')],
    ['an ID of another length', (text: string) => text.replace('id="am_', 'id="am_A')],
    ['bits after the signature', (text: string) => text.replace(/.""?$/, 'B"')],
    ['a signature in standard base64', (text: string) => text.replace(/sig=".../, 'sig="+/A')],
    ['an escaped quotation mark', (text: string) => text.replace('nonce="', 'nonce="\\"')],
    ['single quotation marks', (text: string) => text.replaceAll('"', "'")],
    ['a name in upper case', (text: string) => text.replace('ts=', 'TS=')],
    ['a space before the equals sign', (text: string) => text.replace('ts=', 'ts =')],
    ['a space after a value', (text: string) => text.replace('",ts', '" ,ts')],
    ['a tab after a comma', (text: string) => text.replace(',ts', ',\tts')],
    ['a comma at the end', (text: string) => `${text},`],
    ['a member of every object', (text: string) => text.replace('ts=', '__proto__=')],
  ])('%s', async (_, change) => {
    const authorization = String((await signed()).headers.authorization);
    expect(codeOf({ authorization })).toBe('read');
    const changed = change(authorization);
    expect(changed).not.toBe(authorization);
    expect(codeOf({ authorization: changed })).toBe('malformed_header');
  });
});

describe('labels, each of which has a member in both fields (RFC 9421 section 4)', () => {
  const input = 'x=("@method");created=1';

  it.each([
    ['only in Signature', input, 'x=:AAAA:, y=:AAAA:'],
    ['only in Signature-Input', `${input}, y=("@method")`, 'x=:AAAA:'],
    ['only in one of the two', input, 'y=:AAAA:'],
    ['next to an empty Signature', input, ''],
    ['next to an empty Signature-Input', '', 'x=:AAAA:'],
    ['in another case', input, 'X=:AAAA:'],
    ['with a string for a signature', input, 'x="AAAA"'],
    ['with a token for a signature', input, 'x=AAAA'],
    ['with no value for a signature', input, 'x'],
    ['with a list for a signature', input, 'x=(:AAAA:)'],
    ['with a string for components', 'x="@method";created=1', 'x=:AAAA:'],
    ['with no value for components', 'x;created=1', 'x=:AAAA:'],
    ['twice', `${input}, ${input}`, 'x=:AAAA:'],
    ['twice in Signature', input, 'x=:AAAA:, x=:AAAA:'],
  ])('%s', (_, signatureInput, signature) => {
    const headers = { 'signature-input': signatureInput, signature };
    expect(codeOf(headers)).toBe('malformed_header');
    // The compact form beside it makes it no better.
    const authorization = 'AuthMesh v="2",id="am_JcilCdVPFver17J0"';
    expect(codeOf({ ...headers, authorization })).toBe('malformed_header');
  });

  it('that are in order, but none of them ours, are not a signature for us', () => {
    expect(codeOf({ 'signature-input': input, signature: 'x=:AAAA:' })).toBe('missing_header');
    expect(codeOf({ 'signature-input': `${input}, y=();a`, signature: 'y=:AAAA:;b=1, x=::' })).toBe(
      'missing_header',
    );
    expect(codeOf({ 'signature-input': '', signature: '' })).toBe('missing_header');
  });
});
