import { createHmac } from 'node:crypto';
import { access, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, openDevice } from '@authmesh/sdk/admin';
import type { AmeshCode, AmeshError, Refusal } from '@authmesh/sdk/core';
import express from 'express';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { assertTimely } from '../../src/bootstrap/tokens/read-token';
import type { Token } from '../../src/bootstrap/tokens/token';
import { documentOf } from '../support/list-document';
import { listen } from '../support/listen';
import {
  forge,
  GRANT_HEADER,
  grantClaims,
  type Issuer,
  newIssuer,
  provisionClaims,
  swapPart,
} from '../support/tokens';

let root: string;
let issuer: Issuer;
let logged: ReturnType<typeof vi.spyOn>;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
  issuer = await newIssuer();
  logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
});
afterEach(async () => {
  logged.mockRestore();
  await rm(root, { recursive: true, maxRetries: 20 });
});

type Make = () => Promise<string>;
const right = async (change: object = {}) => forge(issuer, { ...provisionClaims(issuer), ...change });
const unsigned = (token: string, header: object) => swapPart(token, 0, () => header).replace(/[^.]*$/, '');
const now = () => Math.floor(Date.now() / 1000);

const WRONG: readonly (readonly [what: string, code: AmeshCode, message: string, make: Make])[] = [
  ['not a token', 'token_malformed', 'This is not an amesh bootstrap token.', async () => 'hello'],
  [
    'a trust line',
    'token_malformed',
    'This is not an amesh bootstrap token',
    async () => `amesh-p256 ${issuer.publicKey} x`,
  ],
  [
    '100 kB',
    'token_malformed',
    'longer than 4096 characters',
    async () => `${await right()}${'A'.repeat(100_000)}`,
  ],
  [
    'cut short',
    'token_malformed',
    'This is not an amesh bootstrap token',
    async () => (await right()).slice(0, -1),
  ],
  [
    'half of it',
    'token_malformed',
    'This is not an amesh bootstrap token',
    async () => (await right()).slice(0, 100),
  ],
  [
    'algorithm none',
    'token_wrong_algorithm',
    'not signed with ES256',
    async () => unsigned(await right(), { alg: 'none', typ: 'amesh-provision+jwt' }),
  ],
  [
    'algorithm none, its signature left',
    'token_wrong_algorithm',
    'not signed with ES256',
    async () => swapPart(await right(), 0, (header) => ({ ...header, alg: 'none' })),
  ],
  [
    'HS256 with the public key as its secret',
    'token_wrong_algorithm',
    'not signed with ES256',
    async () => {
      const input = unsigned(await right(), { alg: 'HS256', typ: 'amesh-provision+jwt' }).slice(0, -1);
      const key = Buffer.from(issuer.publicKey, 'base64url');
      return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
    },
  ],
  [
    'another type',
    'token_wrong_type',
    'This kind of token is not for this machine',
    async () => forge(issuer, provisionClaims(issuer), { header: { alg: 'ES256', typ: 'JWT' } }),
  ],
  [
    'no type',
    'token_wrong_type',
    'This kind of token is not for this machine',
    async () => forge(issuer, provisionClaims(issuer), { header: { alg: 'ES256' } }),
  ],
  [
    'a grant',
    'token_wrong_type',
    'amesh.fetch takes it. A machine that receives requests takes a token of: amesh provision',
    async () => forge(issuer, await grantClaims(issuer), { header: GRANT_HEADER }),
  ],
  ...[
    [],
    ['A'],
    ['b', 'a'],
    ['a', 'a'],
    ['a:*', 'a:b'],
    'a',
    Array.from({ length: 17 }, (_, i) => `s${10 + i}`),
  ].map(
    (scopes) =>
      [
        `scopes ${JSON.stringify(scopes)}`,
        'token_malformed',
        'do not fit this kind of token',
        async () => right({ scopes }),
      ] as const,
  ),
  [
    'a grant under the other type',
    'token_malformed',
    'do not fit this kind of token',
    async () => forge(issuer, await grantClaims(issuer)),
  ],
  [
    'a key in its header',
    'token_malformed',
    'header has unknown members',
    async () =>
      forge(issuer, provisionClaims(issuer), {
        header: { alg: 'ES256', typ: 'amesh-provision+jwt', jwk: {} },
      }),
  ],
  [
    'a changed claim',
    'token_invalid_signature',
    'signature of the token does not match',
    async () => swapPart(await right(), 1, (claims) => ({ ...claims, target: 'mine' })),
  ],
  [
    'a changed signature',
    'token_invalid_signature',
    'signature of the token does not match',
    async () => {
      const token = await right();
      const at = token.length - 40;
      return token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
    },
  ],
  [
    "another's signature",
    'token_invalid_signature',
    'signature of the token does not match',
    async () => forge(issuer, provisionClaims(issuer), { signer: (await newIssuer()).signer }),
  ],
  [
    'a key that is not that of iss',
    'token_wrong_issuer',
    'does not match the issuer in the token',
    async () => {
      const mallory = await newIssuer();
      return forge(mallory, { ...provisionClaims(mallory), iss: issuer.deviceId });
    },
  ],
  [
    'a key that is not a point',
    'token_malformed',
    'not a point on the P-256 curve',
    async () => right({ key: `A${'_'.repeat(43)}` }),
  ],
  ['no key', 'token_malformed', 'has no issuer', async () => right({ key: undefined })],
  [
    'a claim too many',
    'token_malformed',
    'do not fit this kind of token',
    async () => right({ admin: true }),
  ],
  [
    'a claim too few',
    'token_malformed',
    'do not fit this kind of token',
    async () => right({ secret: undefined }),
  ],
  [
    'a short secret',
    'token_malformed',
    'do not fit this kind of token',
    async () => right({ secret: 'AAAA' }),
  ],
  ['a time in words', 'token_malformed', 'do not fit this kind of token', async () => right({ exp: '2099' })],
  [
    'a host with a path',
    'token_malformed',
    'do not fit this kind of token',
    async () => right({ hosts: ['a.example/x'] }),
  ],
  [
    'a name with an escape sequence',
    'token_malformed',
    'do not fit this kind of token',
    async () => right({ target: '\u001b[2Jx' }),
  ],
  ['expired', 'token_expired', 'expired', async () => right({ iat: now() - 3601, exp: now() - 1 })],
  [
    'not yet valid',
    'token_not_yet_valid',
    "s in the future, by this machine's clock. It is valid from 20",
    async () => right({ iat: now() + 120, exp: now() + 3600 }),
  ],
  [
    '25 hours',
    'token_lifetime_too_long',
    'for more than a day',
    async () => right({ exp: now() + 25 * 3600 }),
  ],
  [
    'over before it began',
    'token_lifetime_too_long',
    'for more than a day',
    async () => right({ exp: now() - 10 }),
  ],
];

describe('a token that is wrong', () => {
  it.each(WRONG)('%s: %s', async (what, code, message, make) => {
    const token = await make();
    const dir = join(root, 'home');
    const refusals: Refusal[] = [];
    const amesh = createAmesh({
      dir,
      env: { AMESH_BOOTSTRAP_TOKEN: token },
      onRefusal: (refusal) => void refusals.push(refusal as Refusal),
    });
    const app = express();
    app.get('/open', (_request, response) => void response.send('open'));
    app.use('/api', amesh.verify(), (_request, response) => void response.send('passed'));
    const server = await listen(app);

    const caller = join(root, 'caller');
    await createIdentity(caller, {}, { friendlyName: 'caller' });
    const refused = await createAmesh({ dir: caller, env: {} }).fetch(`${server.origin}/api`);
    expect([refused.status, await refused.json()]).toEqual([503, { error: 'allow_list_unavailable' }]);
    expect(refusals).toMatchObject([{ code, status: 503 }]);
    // A grant is right for fetch, and so for this.
    if (what !== 'a grant') await expect(amesh.bootstrapIfNeeded()).rejects.toMatchObject({ code });
    expect(`${refusals[0]?.detail} ${refusals[0]?.fix}`).toContain(message);
    expect(await (await fetch(`${server.origin}/open`)).text()).toBe('open');
    await expect(access(dir)).rejects.toMatchObject({ code: 'ENOENT' });

    const written = JSON.stringify([logged.mock.calls, refusals]);
    for (const part of token.split('.')) if (part.length > 20) expect(written).not.toContain(part);
    await server.close();
  });

  it('is reported when the server starts, with the name of the variable', async () => {
    const env = { AMESH_BOOTSTRAP_TOKEN: await right({ iat: now() - 7000, exp: now() - 5000 }) };
    const verify = createAmesh({ dir: join(root, 'home'), env }).verify();
    const server = await listen((request, response) => verify(request, response, () => response.end()));
    // Instances of other tests here wait for a server of this process, too.
    const line = expect.stringMatching(
      /^amesh: AMESH_BOOTSTRAP_TOKEN was not taken, token_expired: The token expired 50\d\d s ago\. .* Until then every signed request gets 503\.$/,
    );
    await vi.waitFor(() => expect(logged.mock.calls).toContainEqual([line]), 10_000);
    await server.close();
  });

  it('a provision token for fetch: token_wrong_type', async () => {
    const dir = join(root, 'home');
    const env = { AMESH_BOOTSTRAP_TOKEN: await right() };
    const amesh = createAmesh({ dir, env });
    await expect(amesh.fetch('http://localhost:1/')).rejects.toMatchObject({
      code: 'token_wrong_type',
      message:
        'The token is for a machine that receives requests: amesh.verify() takes it. A machine that sends requests takes a token of: amesh grant',
    });
    await expect(access(dir)).rejects.toMatchObject({ code: 'ENOENT' });
    amesh.verify(); // whose it is
    expect(await amesh.bootstrapIfNeeded()).toBe(true);
  });

  const HEADER = { header: GRANT_HEADER };
  it.each<[string, AmeshCode, () => Promise<string>]>([
    [
      'expired',
      'token_expired',
      async () =>
        forge(issuer, { ...(await grantClaims(issuer)), iat: now() - 3601, exp: now() - 1 }, HEADER),
    ],
    [
      '25 hours',
      'token_lifetime_too_long',
      async () => forge(issuer, { ...(await grantClaims(issuer)), exp: now() + 25 * 3600 }, HEADER),
    ],
    [
      'not yet valid',
      'token_not_yet_valid',
      async () =>
        forge(issuer, { ...(await grantClaims(issuer)), iat: now() + 120, exp: now() + 180 }, HEADER),
    ],
    [
      'a changed claim',
      'token_invalid_signature',
      async () =>
        swapPart(await forge(issuer, await grantClaims(issuer), HEADER), 1, (claims) => ({
          ...claims,
          callers: '*',
        })),
    ],
    [
      'an invalid private key',
      'token_malformed',
      async () => forge(issuer, { ...(await grantClaims(issuer)), jwk: { kty: 'EC' } }, HEADER),
    ],
    [
      'two stars',
      'token_malformed',
      async () => forge(issuer, { ...(await grantClaims(issuer)), callers: '*-*' }, HEADER),
    ],
    ['not a token', 'token_malformed', async () => 'hello'],
  ])('a grant for fetch, %s: %s', async (_what, code, make) => {
    const dir = join(root, 'home');
    const amesh = createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: await make() } });
    await expect(amesh.fetch('http://localhost:1/')).rejects.toMatchObject({ code });
    await expect(access(dir)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it.each([
    ['token_expired', () => right({ iat: now() - 3601, exp: now() - 1 })],
    ['token_malformed', async () => 'hello'],
  ])('%s is reported once on a machine that has an identity, which continues', async (code, make) => {
    const dir = join(root, 'home');
    await createIdentity(dir, {}, { friendlyName: 'server' });
    const amesh = createAmesh({ dir, env: { AMESH_BOOTSTRAP_TOKEN: await make() } });
    amesh.verify();
    expect(await amesh.bootstrapIfNeeded()).toBe(false);
    expect(await amesh.bootstrapIfNeeded()).toBe(false);
    const said = logged.mock.calls
      .map(([line]: unknown[]) => String(line))
      .filter((line: string) => line.includes(code));
    expect(said).toHaveLength(1);
    expect((await documentOf((await openDevice(dir, {})).trust)).devices).toEqual([]);
    expect(await readdir(dir)).not.toContain('replaced');
  });
});

describe('the times of a token', () => {
  const token = (iat: number, exp: number) => ({ kind: 'provision', claims: { iat, exp } }) as Token;
  const codeAt = (nowSeconds: number, iat = 10_000, exp = iat + 86_400) => {
    try {
      assertTimely(token(iat, exp), nowSeconds);
      return 'taken';
    } catch (error) {
      return (error as AmeshError).code;
    }
  };

  it('are exact to the second', () => {
    expect(codeAt(10_000 + 86_399)).toBe('taken');
    expect(codeAt(10_000 + 86_400)).toBe('token_expired');
    expect(codeAt(10_000 - 60)).toBe('taken');
    expect(codeAt(10_000 - 61)).toBe('token_not_yet_valid');
    expect(codeAt(10_000, 10_000, 96_401)).toBe('token_lifetime_too_long');
    expect(codeAt(10_000, 10_000, 10_000)).toBe('token_lifetime_too_long');
  });
});
