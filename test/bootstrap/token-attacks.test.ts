import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, type IssuedToken, openDevice, type TakenToken } from '@authmesh/sdk/admin';
import { toBase64Url } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readToken } from '../../src/bootstrap/tokens/read-token';
import { toDer } from '../../src/core/crypto/der';
import { addIssued, keepToken } from '../../src/trust/tokens';
import { documentOf } from '../support/list-document';
import { forge, GRANT_HEADER, grantClaims, type Issuer, newIssuer, provisionClaims } from '../support/tokens';

let root: string;
let issuer: Issuer;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  issuer = await newIssuer();
});
afterEach(() => rm(root, { recursive: true, maxRetries: 10 }));

const HEADER = '{"alg":"ES256","typ":"amesh-provision+jwt"}';
const encode = (text: string) => Buffer.from(text).toString('base64url');
const claimsText = (change: object = {}) => JSON.stringify({ ...provisionClaims(issuer), ...change });

/** What no library would sign, but the issuer's key can. */
async function signed(header: string, claims: string, toText = encode): Promise<string> {
  const input = `${toText(header)}.${toText(claims)}`;
  return `${input}.${toBase64Url(await issuer.signer.sign(Buffer.from(input)))}`;
}

async function expectRefused(token: string, code: string): Promise<void> {
  await expect(readToken(token)).rejects.toMatchObject({ code });
  const dir = join(root, 'home');
  const amesh = createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: token } });
  await expect(amesh.bootstrapIfNeeded()).rejects.toMatchObject({ code });
  await expect(access(dir)).rejects.toMatchObject({ code: 'ENOENT' });
}

describe('a token that its issuer signed, and that is read in two ways', () => {
  it.each<[string, string, () => Promise<string>]>([
    ['crit', 'token_malformed', () => signed(`${HEADER.slice(0, -1)},"crit":["exp"],"exp":1}`, claimsText())],
    [
      'b64',
      'token_malformed',
      () => signed(`${HEADER.slice(0, -1)},"b64":false,"crit":["b64"]}`, claimsText()),
    ],
    ['two algorithms', 'token_malformed', () => signed(`{"alg":"none",${HEADER.slice(1)}`, claimsText())],
    [
      'two types',
      'token_malformed',
      () => signed(`{"typ":"amesh-grant+jwt",${HEADER.slice(1)}`, claimsText()),
    ],
    [
      'two issuers',
      'token_malformed',
      () => signed(HEADER, `{"iss":"am_AAAAAAAAAAAAAAAA",${claimsText().slice(1)}`),
    ],
    ['two ends', 'token_malformed', () => signed(HEADER, `${claimsText().slice(0, -1)},"exp":1}`)],
    [
      'a member of every object',
      'token_malformed',
      () => signed(HEADER, `${claimsText().slice(0, -1)},"__proto__":{"relay":"x"}}`),
    ],
    ['spaces', 'token_malformed', () => signed(HEADER, ` ${claimsText()}`)],
    ['a byte order mark', 'token_malformed', () => signed(HEADER, `\ufeff${claimsText()}`)],
    ['an escape', 'token_malformed', () => signed(HEADER, claimsText().replace('"iss"', '"\\u0069ss"'))],
    [
      'a time with a fraction',
      'token_malformed',
      () => signed(HEADER, claimsText().replace(/("exp":\d+)/, '$1.0')),
    ],
    ['a list', 'token_malformed', () => signed(HEADER, '[]')],
    ['null', 'token_malformed', () => signed(HEADER, 'null')],
    [
      'another case of the type',
      'token_wrong_type',
      () => signed(HEADER.replace('amesh-p', 'AMESH-P'), claimsText()),
    ],
    [
      'a media type as its type',
      'token_wrong_type',
      () => signed(HEADER.replace('amesh-p', 'application/amesh-p'), claimsText()),
    ],
    [
      'another case of the algorithm',
      'token_wrong_algorithm',
      () => signed(HEADER.replace('ES', 'es'), claimsText()),
    ],
    [
      'a list as its algorithm',
      'token_wrong_algorithm',
      () => signed(HEADER.replace('"ES256"', '["ES256"]'), claimsText()),
    ],
    ['padded base64url', 'token_malformed', () => signed(HEADER, claimsText(), (text) => `${encode(text)}=`)],
    [
      'base64',
      'token_malformed',
      () =>
        signed(HEADER, claimsText({ name: '\u00ff\u00fe\u00ff' }), (text) =>
          Buffer.from(text).toString('base64').replace(/=/g, ''),
        ),
    ],
    [
      'stray bits at its end',
      'token_malformed',
      () => signed(HEADER, claimsText(), (text) => `${encode(text)}`.replace(/.$/, '_')),
    ],
    [
      'half a surrogate pair in a name',
      'token_malformed',
      () => signed(HEADER, claimsText({ target: '\ud800' })),
    ],
    ['a bidi character in a name', 'token_malformed', () => signed(HEADER, claimsText({ name: 'a\u202eb' }))],
    [
      'a line feed in a name',
      'token_malformed',
      () => signed(HEADER, claimsText({ name: 'a\r\nset-cookie: b' })),
    ],
    ['an ID as a name', 'token_malformed', () => signed(HEADER, claimsText({ name: 'am_AAAAAAAAAAAAAAAA' }))],
    [
      'an invalid relay',
      'token_malformed',
      () => signed(HEADER, claimsText({ relay: 'file:///etc/passwd' })),
    ],
    [
      '17 hosts',
      'token_malformed',
      () => signed(HEADER, claimsText({ hosts: Array.from({ length: 17 }, (_, i) => `h${i}.example`) })),
    ],
  ])('with %s: %s', async (_what, code, make) => expectRefused(await make(), code));

  it('with a signature in DER', async () => {
    const token = await signed(HEADER, claimsText());
    const [header, claims, signature = ''] = token.split('.');
    const der = toDer(Buffer.from(signature, 'base64url'), Buffer.alloc);
    await expectRefused(
      `${header}.${claims}.${Buffer.from(der).toString('base64url')}`,
      'token_invalid_signature',
    );
  });

  it('with a signature of nothing but zeros', async () => {
    const token = await signed(HEADER, claimsText());
    await expectRefused(token.replace(/[^.]*$/, 'A'.repeat(86)), 'token_invalid_signature');
  });

  it('with text around it, or a fourth part', async () => {
    const token = await signed(HEADER, claimsText());
    for (const wrong of [
      `${token}.`,
      `${token}.e30`,
      `.${token}`,
      `Bearer ${token}`,
      token.replace('.', '. '),
    ])
      await expectRefused(wrong, 'token_malformed');
  });
});

it('with the other of its two signatures, it is the same token', async () => {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const token = await signed(HEADER, claimsText());
  const bytes = Buffer.from(token.split('.')[2] as string, 'base64url');
  const s = order - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  bytes.write(s.toString(16).padStart(64, '0'), 32, 'hex');
  const other = token.replace(/[^.]*$/, bytes.toString('base64url'));
  const dir = join(root, 'home');
  expect(await createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: token } }).bootstrapIfNeeded()).toBe(true);
  expect(await createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: other } }).bootstrapIfNeeded()).toBe(false);
  expect((await documentOf((await openDevice(dir, {})).trust)).tokens).toHaveLength(1);
});

it('a grant whose private key does not match its public key is refused, and nothing is written', async () => {
  const claims = await grantClaims(issuer);
  const { kty, crv, x, y } = await nodeCrypto.generatePrivateKey();
  for (const wrong of [
    { ...(claims.jwk as object), x, y },
    { ...(claims.jwk as object), kty, crv, d: 'A'.repeat(43) },
    { ...(claims.jwk as object), d: toBase64Url(new Uint8Array(32).fill(255)) },
  ]) {
    const token = await forge(issuer, { ...claims, jwk: wrong }, { header: GRANT_HEADER });
    const dir = join(root, 'home');
    const amesh = createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: token } });
    await expect(amesh.fetch('http://localhost:1/')).rejects.toMatchObject({ code: 'token_malformed' });
    await expect(access(dir)).rejects.toMatchObject({ code: 'ENOENT' });
  }
});

it('a taken token with the ID of a token that was issued here does not replace it', async () => {
  const id = 'A'.repeat(22);
  await createIdentity(root, {}, { friendlyName: 'api' });
  const { trust } = await openDevice(root, {});
  const issued: IssuedToken = {
    kind: 'issued',
    id,
    friendlyName: 'b',
    hosts: [],
    secret: 'x',
    issuedAt: 1,
    expiresAt: 2 ** 32,
    takenBy: null,
    cancelledAt: null,
  };
  const taken = { kind: 'taken', id, issuer: issuer.deviceId, takenAt: 1, until: null } as const;
  const after = (change: TakenToken) => trust.update((draft) => keepToken(draft, change));
  await trust.update((draft) => addIssued(draft, issued, 1));
  expect((await after(taken)).head.tokens).toEqual([issued, taken]);
  expect((await after({ ...taken, takenAt: 2 })).head.tokens).toEqual([issued, { ...taken, takenAt: 2 }]);
});
