import type { Signer } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';
import { toLowS } from '../../src/core/crypto/low-s';
import { deviceIdOf } from '../../src/core/devices/allow-list';
import { toBase64Url, toUtf8 } from '../../src/core/encoding';
import { readRotationAnswer, readRotationField, toRotationField } from '../../src/core/rotation/field';
import { isInTime, ROTATION_LIMITS, readRotation, signRotation } from '../../src/core/rotation/rotation';
import { NOW, signed, signerOf, verifierAt } from '../support/core';
import { providers } from '../support/providers';

const TARGET = 'am_0123456789abcdef';
const former = await signerOf('controller');
const next = await signerOf('stranger');
const statement = () => signRotation({ former, next, targetId: TARGET, nowMs: NOW * 1000 + 999 });
const read = (text: string) => readRotation(text, nodeCrypto);

/** A statement with any payload, which both keys sign as the label says. */
async function statementOf(
  payload: string,
  { label = 'amesh rotation v1\n', by = [former, next] }: { label?: string; by?: readonly Signer[] } = {},
) {
  const text = toBase64Url(toUtf8(payload));
  const signatures = by.map(async (key) => toBase64Url(toLowS(await key.sign(toUtf8(label + text)))));
  return [text, ...(await Promise.all(signatures))].join('.');
}

const claims = {
  old: toBase64Url(former.publicKey),
  new: toBase64Url(next.publicKey),
  target: TARGET,
  iat: NOW,
};
const json = (more: object = {}) => JSON.stringify({ ...claims, ...more });

describe('A statement about the next key', () => {
  it('says the same with every crypto provider', async () => {
    const text = await statement();
    for (const crypto of providers)
      expect(await readRotation(text, crypto)).toEqual({
        formerKey: former.publicKey,
        formerId: await deviceIdOf(former.publicKey, nodeCrypto),
        nextKey: next.publicKey,
        nextId: await deviceIdOf(next.publicKey, nodeCrypto),
        targetId: TARGET,
        issuedAt: NOW,
        text,
      });
    expect(text.length).toBeLessThan(ROTATION_LIMITS.characters);
  });

  it.each<[string, () => string | Promise<string>]>([
    ['no text', () => ''],
    ['one part', () => toBase64Url(toUtf8(json()))],
    ['two signatures of the former key', () => statementOf(json(), { by: [former, former] })],
    ['two signatures of the next key', () => statementOf(json(), { by: [next, next] })],
    ['the signatures in the other order', () => statementOf(json(), { by: [next, former] })],
    ['only the signature of the former key', () => statementOf(json(), { by: [former] })],
    ['three signatures', () => statementOf(json(), { by: [former, next, next] })],
    ['another label', () => statementOf(json(), { label: 'amesh enrolment v1\n' })],
    ['no label', () => statementOf(json(), { label: '' })],
    ['another member', () => statementOf(json({ more: 1 }))],
    ['a member twice', () => statementOf(json().replace('{', `{"iat":${NOW},`))],
    [
      'another order',
      () => statementOf(`{"iat":${NOW},${JSON.stringify({ ...claims, iat: undefined }).slice(1)}`),
    ],
    ['spaces', () => statementOf(JSON.stringify(claims, null, 1))],
    ['a missing member', () => statementOf(json({ iat: undefined }))],
    ['a list', () => statementOf(`[${json()}]`)],
    ['null', () => statementOf('null')],
    ['no JSON', () => statementOf('old')],
    ['a time as text', () => statementOf(json({ iat: `${NOW}` }))],
    ['a time in milliseconds', () => statementOf(json({ iat: NOW * 1000 }))],
    ['a broken time', () => statementOf(json({ iat: NOW + 0.5 }))],
    ['a time before 1970', () => statementOf(json({ iat: -1 }))],
    ['a target that is not an ID', () => statementOf(json({ target: 'orders-api' }))],
    ['the same key twice', () => statementOf(json({ new: claims.old }), { by: [former, former] })],
    ['a key of 32 bytes', () => statementOf(json({ new: toBase64Url(next.publicKey.slice(1)) }))],
    ['an uncompressed key', () => statementOf(json({ new: toBase64Url(new Uint8Array(65).fill(4)) }))],
    ['a key off the curve', () => statementOf(json({ new: `Av${'_'.repeat(42)}` }))],
  ])('is not valid with %s', async (_, make) => {
    expect(await read(await make())).toBeNull();
  });

  it('is not valid with one character changed, wherever that is', async () => {
    const text = await statement();
    for (let i = 0; i < text.length; i++) {
      for (const other of ['A', 'B', '.', '=', ' ', ''].filter((each) => each !== text[i]))
        expect(await read(text.slice(0, i) + other + text.slice(i + 1))).toBeNull();
    }
    for (const more of ['A', '.', ' ', '\n', '=']) expect(await read(text + more)).toBeNull();
  });

  it('is not valid with the other s, which anybody can compute', async () => {
    const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
    const parts = (await statement()).split('.');
    for (const i of [1, 2]) {
      const bytes = Buffer.from(parts[i] as string, 'base64url');
      const high = order - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
      const turned = Buffer.concat([
        bytes.subarray(0, 32),
        Buffer.from(high.toString(16).padStart(64, '0'), 'hex'),
      ]);
      expect(await read(parts.with(i, turned.toString('base64url')).join('.'))).toBeNull();
    }
  });

  it('is valid from 5 minutes before its time until 30 days after it', () => {
    const rotation = { issuedAt: NOW };
    const at = (seconds: number) => isInTime(rotation, (NOW + seconds) * 1000);
    expect([at(-301), at(-300), at(0), at(30 * 86_400), at(30 * 86_400 + 1)]).toEqual([
      false,
      true,
      true,
      true,
      false,
    ]);
    expect(isInTime(rotation, Number.NaN)).toBe(false);
  });
});

describe('AuthMesh-Rotation', () => {
  it('carries a statement, or what the former key says about its successor', async () => {
    const text = await statement();
    expect(readRotationField(text)).toEqual({ kind: 'rotate', text });
    for (const kind of ['withdraw', 'retire'] as const)
      expect(readRotationField(toRotationField(kind, TARGET))).toEqual({ kind, nextId: TARGET });
  });

  it.each([
    '',
    'withdraw',
    'withdraw=',
    'withdraw=orders',
    `remove=${TARGET}`,
    `Withdraw=${TARGET}`,
    `retire= ${TARGET}`,
  ])('says nothing with %j', (text) => {
    expect(readRotationField(text)).toBeNull();
  });

  it('is answered with one of five words', () => {
    for (const word of ['waiting', 'accepted', 'refused', 'withdrawn', 'unavailable'])
      expect(readRotationAnswer(word)).toBe(word);
    for (const text of [null, '', 'Accepted', 'accepted ', 'accepted, refused'])
      expect(readRotationAnswer(text)).toBeNull();
  });

  it.each(['authmesh', 'rfc9421'] as const)(
    'is covered in the form %s, and cannot be stripped',
    async (format) => {
      const text = await statement();
      const request = await signed({ headers: { 'authmesh-rotation': text } }, { format });
      expect(await verifierAt().verify(request)).toMatchObject({ ok: true });
      const { 'authmesh-rotation': _, ...headers } = request.headers;
      expect(await verifierAt().verify({ ...request, headers })).toMatchObject({ ok: false });
      const added = await signed({}, { format });
      const verdict = await verifierAt().verify({
        ...added,
        headers: { ...added.headers, 'authmesh-rotation': text },
      });
      expect(verdict).toMatchObject({ ok: false });
      const twice = { ...request, headers: { ...request.headers, 'authmesh-rotation': [text, text] } };
      expect(await verifierAt().verify(twice)).toMatchObject({ ok: false, code: 'malformed_header' });
    },
  );
});
