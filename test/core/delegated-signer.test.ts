import { inspect } from 'node:util';
import { issueDelegation } from '@authmesh/sdk/admin';
import {
  type ClientRefusal,
  createClient,
  delegatedSigner,
  signRequest,
  toBase64Url,
  withWorkingKey,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isLowS } from '../../src/core/crypto/low-s';
import { readStatement } from '../../src/core/statements/read-statement';
import { toStatementInput } from '../../src/core/statements/statement';
import { NOW, signerOf } from '../support/core';
import { listen } from '../support/listen';
import { providers } from '../support/providers';
import { vectors } from '../support/vectors';

const TARGET = 'am_IJvB33JIlVC61SRn';
const CALLER = 'am_JcilCdVPFver17J0';
const now = () => NOW * 1000;
const WISH = { name: 'report-agent', scopes: ['orders:read'], targets: [TARGET], lifetimeSeconds: 3600, now };
const view = { method: 'GET', target: '/a', authority: 'api.example.com', headers: {} };

async function issue(change: object = {}) {
  return issueDelegation(await signerOf('controller'), { ...WISH, ...change });
}

const statementOf = (text: string) => text.slice('amesh_delegation_'.length + 44);

describe('A delegation', () => {
  it('is one text: a prefix, the private key, and what the device says about it', async () => {
    const { text, facts } = await issue({ scopes: ['reports:*', 'orders:read', 'orders:read'] });
    expect(text).toMatch(/^amesh_delegation_[A-Za-z0-9_-]{43}\.eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{86}$/);
    const scopes = ['orders:read', 'reports:*'];
    expect(facts).toMatchObject({ name: 'report-agent', scopes, targets: [TARGET], deviceId: CALLER });
    const read = readStatement(statementOf(text), 'request');
    expect(read).toMatchObject({
      deviceId: CALLER,
      issuedAt: NOW - 300,
      expiresAt: NOW + 3600,
      id: facts.id,
      delegation: { name: 'report-agent', scopes, targets: [TARGET] },
    });
    const { input = '', signature = new Uint8Array() } = read ?? {};
    expect(isLowS(signature)).toBe(true);
    const key = await nodeCrypto.importPublicKey((await signerOf('controller')).publicKey);
    expect(await key.verify(signature, new TextEncoder().encode(input))).toBe(true);
  });

  it('of a whole day begins now, since a statement lasts no more than a day', async () => {
    const { text } = await issue({ lifetimeSeconds: 86_400 });
    expect(readStatement(statementOf(text), 'request')).toMatchObject({
      issuedAt: NOW,
      expiresAt: NOW + 86_400,
    });
  });

  it('signs requests in the name of its device', async () => {
    const { text, facts } = await issue();
    const signer = await delegatedSigner(text, { now });
    expect(signer.delegation).toEqual(facts);
    const { headers } = await signRequest(view, signer, { format: 'rfc9421' });
    expect(headers['authmesh-key']).toBe(statementOf(text));
    expect(headers['signature-input']).toContain(`keyid="${CALLER}"`);
    expect(() => createClient({ signer })).not.toThrow();
  });

  it.each(providers)('is made and opened with $id crypto', async (crypto) => {
    const { text, facts } = await issue({ crypto });
    const signer = await delegatedSigner(text, { crypto, now });
    expect(signer.delegation).toEqual(facts);
    await signRequest(view, signer);
  });

  it('cannot sign as the device, nor lend its own power', async () => {
    const signer = await delegatedSigner((await issue()).text, { now });
    await expect(signer.sign(new Uint8Array(1))).rejects.toThrow(
      'A delegate signs requests only: it cannot act as the device.',
    );
    await expect(issueDelegation(signer, WISH)).rejects.toThrow('it cannot act as the device');
  });

  it('fails with a clear error once it has ended', async () => {
    const { text } = await issue();
    let seconds = NOW + 3599;
    const signer = await delegatedSigner(text, { now: () => seconds * 1000 });
    await signRequest(view, signer);
    seconds++;
    await expect(signRequest(view, signer)).rejects.toMatchObject({
      code: 'delegation_ended',
      detail: `The delegation "report-agent" of ${CALLER} ended at 2025-11-24T17:00:00.000Z.`,
      fix: expect.stringContaining('amesh delegate'),
    });
  });

  it.each(['delegate', 'working key'])(
    'returns the response even if its %s ends before the response is there',
    async (whose) => {
      const { text } = await issue();
      const device = await signerOf('controller');
      let seconds = NOW;
      let signed = 0;
      const options = { now: () => seconds * 1000 };
      const counting = {
        ...device,
        sign: async (message: Uint8Array) => {
          signed++;
          return device.sign(message);
        },
      };
      const signer =
        whose === 'delegate' ? await delegatedSigner(text, options) : withWorkingKey(counting, options);
      const server = await listen((_request, response) => {
        seconds += 86_400;
        const body = '{"error":"scope_missing","scope":"orders:write"}';
        response
          .writeHead(403, { 'content-type': 'application/json', 'content-length': body.length })
          .end(body);
      });
      onTestFinished(() => server.close());
      const told: ClientRefusal[] = [];
      const client = createClient({ signer, onRefusal: (refusal) => void told.push(refusal), ...options });
      expect((await client.fetch(server.origin)).status).toBe(403);
      expect(told[0]?.fix).toContain(`amesh allow ${CALLER} orders:write`);
      expect(signed).toBe(whose === 'delegate' ? 0 : 1);
    },
  );

  it('is not shown by its signer', async () => {
    const { text } = await issue();
    const secret = text.slice(17, 60);
    const signer = await delegatedSigner(text);
    expect(inspect(signer, { depth: 10, showHidden: true })).not.toContain(secret);
    expect(JSON.stringify(signer)).not.toContain(secret);
  });

  describe('is not', () => {
    const broken: [string, (text: string) => string | Promise<string>][] = [
      ['nothing', () => ''],
      ['undefined', () => undefined as unknown as string],
      ['only its statement', (text) => statementOf(text)],
      ['only its key', (text) => text.slice(0, 60)],
      ['one cut at its end', (text) => text.slice(0, -1)],
      ['one with a line end', (text) => `${text}\n`],
      ['one with a space before it', (text) => ` ${text}`],
      ['one in another case', (text) => text.replace('amesh_', 'AMESH_')],
      ['one with a fourth part', (text) => `${text}.AAAA`],
      ['one with the key of another', (text) => `${text.slice(0, 17)}${'B'.repeat(42)}A${text.slice(60)}`],
      ['one with the key zero', (text) => `${text.slice(0, 17)}${'A'.repeat(43)}${text.slice(60)}`],
      [
        'a working key that lends nothing',
        async (text) => {
          const {
            delegation: _,
            publicKey: __,
            input: ___,
            signature,
            ...claims
          } = readStatement(statementOf(text), 'request') as never as Record<string, unknown>;
          return `${text.slice(0, 61)}${toStatementInput(claims as never)}.${toBase64Url(signature as Uint8Array)}`;
        },
      ],
    ];
    it.each(broken)('%s, and the error does not repeat it', async (_what, change) => {
      const { text } = await issue();
      const error = await delegatedSigner(await change(text)).catch((thrown) => thrown);
      expect(error).toBeInstanceOf(TypeError);
      expect(error.message).toBe(
        'This is not a delegation. Copy the whole text that amesh delegate printed: it begins with amesh_delegation_.',
      );
      expect(inspect(error)).not.toContain(text.slice(17, 50));
    });
  });

  it.each([
    ['name', { name: '' }],
    ['name', { name: 'report agent' }],
    ['name', { name: 'a'.repeat(65) }],
    ['scopes', { scopes: [] }],
    ['scopes', { scopes: ['Orders'] }],
    ['scopes', { scopes: Array.from({ length: 17 }, (_, i) => `a${i}`) }],
    ['targets', { targets: [] }],
    ['targets', { targets: ['orders-api'] }],
    ['lifetimeSeconds', { lifetimeSeconds: 59 }],
    ['lifetimeSeconds', { lifetimeSeconds: 86_401 }],
    ['lifetimeSeconds', { lifetimeSeconds: 60.5 }],
  ])('is not made with a wrong %s', async (name, change) => {
    await expect(issue(change)).rejects.toThrow(new RegExp(`^${name} `));
  });

  it('is not made if its statement would be too long', async () => {
    await expect(
      issue({ scopes: Array.from({ length: 16 }, (_, i) => `${'a'.repeat(50)}${i}`) }),
    ).rejects.toThrow(
      /^The delegation would be too long: its statement has \d+ characters, and at most 1024/,
    );
  });

  it('refuses wrong options', async () => {
    const { text } = await issue();
    await expect(delegatedSigner(text, { clock: now } as object)).rejects.toThrow(
      'delegatedSigner() has no option "clock".',
    );
  });
});

describe('The keys of the targets of a delegation', () => {
  const { publicKey } = vectors.devices.target;
  const keyed = (change: object = {}) => issue({ targetKeys: [{ deviceId: TARGET, publicKey }], ...change });

  it('are those of the statement, so that answers can be proven', async () => {
    const { text } = await keyed();
    expect(text.slice(-45)).toBe(`.${publicKey}`);
    const [target, ...others] = (await delegatedSigner(text)).targets;
    expect(others).toEqual([]);
    expect(target).toMatchObject({ deviceId: TARGET, proves: true });
    expect(Buffer.from(target?.publicKey ?? []).toString('base64url')).toBe(publicKey);
    const unproven = await keyed({ targetKeys: [{ deviceId: TARGET, publicKey, proves: false }] });
    expect((await delegatedSigner(unproven.text)).targets).toMatchObject([{ proves: false }]);
    expect((await delegatedSigner((await issue()).text)).targets).toEqual([]);
  });

  it.each([
    ['of another device', (text: string) => text.slice(0, -44) + vectors.devices.controller.publicKey],
    ['twice', (text: string) => text + text.slice(-45)],
    ['cut short', (text: string) => text.slice(0, -1)],
    ['with another mark', (text: string) => `${text}!`],
    ['with two marks', (text: string) => `${text}~~`],
    ['empty', (text: string) => text.slice(0, -44)],
  ])('are no key %s', async (_what, change) => {
    await expect(delegatedSigner(change((await keyed()).text))).rejects.toThrow('This is not a delegation.');
  });

  describe('with the authorities of several targets', () => {
    const { controller, target } = vectors.devices;
    const keyOf = ({ deviceId, publicKey: key }: typeof target, hosts: string[], proves = true) => ({
      deviceId,
      publicKey: key,
      hosts,
      proves,
    });
    const both = (...hosts: [string[], string[]]) =>
      issue({
        targets: [target.deviceId, controller.deviceId],
        targetKeys: [keyOf(target, hosts[0]), keyOf(controller, hosts[1], false)],
      });

    it('names the target at each authority', async () => {
      const { text } = await both(['api.example.com', '[::1]:3000'], ['stock.example.com:8080']);
      const { targets } = await delegatedSigner(text);
      expect(Object.fromEntries(targets.map(({ deviceId, hosts }) => [deviceId, hosts]))).toEqual({
        [target.deviceId]: ['api.example.com', '[::1]:3000'],
        [controller.deviceId]: ['stock.example.com:8080'],
      });
    });

    it.each([
      ['two targets', ['a.example'], ['a.example']],
      ['another spelling', ['A.example:443'], []],
      ['none of a host', ['a/b'], []],
    ])('refuses %s', async (_, first, second) => {
      await expect(both(first, second)).rejects.toThrow('each host once, in normal form');
    });

    it('does not read an authority that was changed', async () => {
      const { text } = await both(['a.example'], []);
      const named = (hosts: string | Uint8Array) => `@${Buffer.from(hosts).toString('base64url')}`;
      expect(text).toContain(named('a.example'));
      for (const other of ['A.example', 'a.example,', '', Uint8Array.of(255, 254)])
        await expect(delegatedSigner(text.replace(named('a.example'), named(other)))).rejects.toThrow(
          'This is not a delegation.',
        );
    });

    it('has no authorities if there is one target: it is the only one at any authority', async () => {
      const { text } = await issue({ targetKeys: [keyOf(target, ['api.example.com'])] });
      expect(text.slice(-45)).toBe(`.${publicKey}`);
    });
  });

  it('must be complete if they are given', async () => {
    const { deviceId } = vectors.devices.controller;
    for (const targetKeys of [
      [{ deviceId, publicKey: vectors.devices.controller.publicKey }],
      [{ deviceId: TARGET, publicKey: vectors.devices.controller.publicKey }],
    ])
      await expect(issue({ targetKeys })).rejects.toThrow(
        'targetKeys must have the key of each target, and each host once, in normal form.',
      );
  });
});
