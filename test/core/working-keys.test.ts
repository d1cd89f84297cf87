import {
  createAllowList,
  createVerifier,
  InMemoryNonceStore,
  type PublicKey,
  type Refusal,
  type RequestView,
  type Signer,
  signRequest,
  streamUnverifiedBody,
  type VerifierOptions,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';
import { commonScopes } from '../../src/core/devices/scopes';
import { StatementCache } from '../../src/core/statements/statement-cache';
import type { BodyGate } from '../../src/core/wire/body-gate';
import { NOW, signerOf, verifierAt } from '../support/core';
import { providers } from '../support/providers';
import { LENT, workerOf } from '../support/statements';
import { vectorAllowList, vectors } from '../support/vectors';

const view = { method: 'GET', target: '/a', authority: 'api.example.com', headers: {} };
const allowList = { ...vectorAllowList, hosts: ['api.example.com'], endedDelegations: [] as string[] };
const { controller, stranger } = vectors.devices;

/** The list in which the controller differs. */
const listWith = (changes: object) => ({
  ...allowList,
  devices: allowList.devices.map((device) =>
    device.deviceId === controller.deviceId ? { ...device, ...changes } : device,
  ),
});

const sign = (signer: Signer, request: Partial<RequestView> = {}, created = NOW) =>
  signRequest({ ...view, ...request } as RequestView, signer, { created });

/** A verifier, and the last of its refusals. */
function judge(options: Partial<VerifierOptions> = {}) {
  const seen: { refusal?: Refusal } = {};
  const verifier = verifierAt({
    allowList,
    ...options,
    onRefusal: (refusal) => {
      seen.refusal = refusal;
    },
  });
  return { verifier, seen };
}

describe('Signing with a working key', () => {
  it('names the device, sends the statement, and covers it', async () => {
    const { signer, requestSigner } = await workerOf();
    const { headers } = await signRequest(view, signer, { format: 'rfc9421' });
    expect(headers['authmesh-key']).toBe(requestSigner.statement);
    expect(headers['signature-input']).toContain('"authmesh-key");');
    expect(headers['signature-input']).toContain(`keyid="${controller.deviceId}"`);
  });

  it('refuses to sign the statement of another device without a working key', async () => {
    await expect(
      sign(await signerOf('controller'), { headers: { 'authmesh-key': 'eyJ.statement' } }),
    ).rejects.toThrow('This request has the AuthMesh-Key of another signature: remove it first.');
  });
});

describe('A working key', () => {
  it.each(providers)('is verified with the $id provider', async (crypto) => {
    const { verifier } = judge({ crypto, delegates: true });
    for (const { signer } of [await workerOf(), await workerOf({ delegation: LENT })]) {
      for (let i = 0; i < 2; i++)
        expect(await verifier.verify(await sign(signer))).toMatchObject({ ok: true });
    }
    const { signer } = await workerOf({ deviceId: controller.deviceId }, 'stranger');
    expect(await verifier.verify(await sign(signer))).toMatchObject({ code: 'key_statement_invalid' });
  });

  it.each<[string, Parameters<typeof workerOf>, string]>([
    ['has expired', [{ issuedAt: NOW - 9000, expiresAt: NOW - 1 }], 'expired at 2025-11-24T15:59:59.000Z'],
    [
      'is from the future',
      [{ issuedAt: NOW + 1 }],
      'is from the future: it counts from 2025-11-24T16:00:01.000Z',
    ],
    ['is one about answers', [{ kind: 'answer' }], 'is malformed, or is not about a key for requests'],
    [
      'is for other targets',
      [{ delegation: { ...LENT, targets: [stranger.deviceId] } }],
      'is for other targets',
    ],
    ['another device signed', [{}, 'target'], 'belongs to am_IJvB33JIlVC61SRn'],
    ['names another device', [{ deviceId: controller.deviceId }, 'target'], 'was changed, or was not signed'],
  ])('is refused, and the log says why, if its statement %s', async (_what, [changes = {}, device], why) => {
    const { signer } = await workerOf(
      device === undefined ? changes : { deviceId: vectors.devices[device as 'target'].deviceId, ...changes },
      device,
    );
    // The request names the controller, also if the statement is another device's.
    const request = (signer as Required<Signer>).requestSigner();
    const named = {
      ...signer,
      requestSigner: async () => ({ ...(await request), deviceId: controller.deviceId }),
    };
    const { verifier, seen } = judge({ delegates: true });
    const verdict = await verifier.verify(await sign(named));
    expect(verdict).toMatchObject({ code: 'key_statement_invalid', answer: { status: 401 } });
    expect(seen.refusal?.detail).toContain(`The statement in AuthMesh-Key ${why}`);
    expect(JSON.parse((verdict as { answer: { body: string } }).answer.body)).toEqual({
      error: 'unauthorized',
    });
  });

  it('ends when the keys of its device are cut, and new statements are accepted', async () => {
    const old = await workerOf();
    let list = createAllowList(allowList);
    const { verifier, seen } = judge({ allowList: { current: () => list } });
    expect(await verifier.verify(await sign(old.signer))).toMatchObject({ ok: true });
    list = createAllowList(listWith({ keysSince: NOW - 299 }));
    expect(await verifier.verify(await sign(old.signer))).toMatchObject({ code: 'key_statement_invalid' });
    expect(seen.refusal?.detail).toContain(
      'begins before the keys of this device were cut, or it was paired again, at 2025-11-24T15:55:01.000Z',
    );
    expect(seen.refusal?.fix).toBe(
      "The device's programs make a new working key by themselves. A delegation counts if it is made from 2025-11-24T16:00:01.000Z on, since each begins 5 minutes early: amesh delegate",
    );
    const { signer } = await workerOf({ issuedAt: NOW - 299 });
    expect(await verifier.verify(await sign(signer))).toMatchObject({ ok: true });
    expect(await verifier.verify(await sign(await signerOf('controller')))).toMatchObject({ ok: true });
  });

  it('is not one while a device has that key: a known one is refused as soon as the device is added', async () => {
    const { signer } = await workerOf();
    let list = createAllowList(allowList);
    const { verifier, seen } = judge({ allowList: { current: () => list } });
    expect(await verifier.verify(await sign(signer))).toMatchObject({ ok: true });
    const { deviceIdOf, toBase64Url } = await import('@authmesh/sdk/core');
    const added = {
      deviceId: await deviceIdOf(signer.publicKey, nodeCrypto),
      publicKey: toBase64Url(signer.publicKey),
      friendlyName: 'added',
      roles: ['controller'] as const,
    };
    list = createAllowList({ ...allowList, devices: [...allowList.devices, added] });
    expect(await verifier.verify(await sign(signer))).toMatchObject({ code: 'key_statement_invalid' });
    expect(seen.refusal?.detail).toContain('names the key of a device as its working key');
  });

  it.each([
    ['the target itself', { deviceId: stranger.deviceId }],
    ['the owner of the list', { ownerId: stranger.deviceId }],
  ])('cannot be the key of %s', async (_whom, who) => {
    const { x, y } = stranger.privateKeyJwk;
    const worker = await workerOf({ x, y });
    const request = { ...worker.requestSigner, ...(await signerOf('stranger')) };
    const list = { ...createAllowList(allowList), ...who };
    const { verifier } = judge({ allowList: { current: () => list } });
    const signed = await sign({ ...worker.signer, requestSigner: () => request });
    expect(await verifier.verify(signed)).toMatchObject({ code: 'key_statement_invalid' });
  });

  it('is checked again at the end of a body: by the list, the clock and the revoked delegations', async () => {
    const end = NOW + 5;
    const cases: [string, (state: { list: object; now: number; id: string }) => void][] = [
      ['key_statement_invalid', (state) => Object.assign(state, { now: end + 1 })],
      ['key_statement_invalid', (state) => Object.assign(state, { list: listWith({ keysSince: NOW }) })],
      ['unknown_device', (state) => Object.assign(state, { list: { ...allowList, devices: [] } })],
      [
        'delegate_revoked',
        (state) => Object.assign(state, { list: { ...allowList, endedDelegations: [state.id] } }),
      ],
      ['scope_missing', (state) => Object.assign(state, { list: listWith({ scopes: ['orders:write'] }) })],
    ];
    const body = new TextEncoder().encode('abc');
    for (const [code, change] of cases) {
      const { signer, claims } = await workerOf({ expiresAt: end, delegation: LENT });
      const state = { list: listWith({ scopes: ['orders:*'] }) as object, now: NOW, id: claims.id };
      const options: Partial<VerifierOptions> = {
        allowList: { current: () => createAllowList(state.list) },
        now: () => state.now * 1000,
        require: 'orders:read',
      };
      const signed = await sign(signer, { method: 'POST', body });
      const slow = async () => {
        change(state);
        return body;
      };
      expect(await judge(options).verifier.verify({ ...signed, body: slow })).toMatchObject({ code });

      Object.assign(state, { list: listWith({ scopes: ['orders:*'] }), now: NOW });
      let gate: BodyGate | undefined;
      const streamed = judge({ ...options, [streamUnverifiedBody]: true });
      const verdict = await streamed.verifier.verify({
        ...signed,
        body: async () => body,
        gateBody: (given) => {
          gate = given;
          return null;
        },
      });
      expect(verdict).toMatchObject({ ok: true, caller: { scopes: ['orders:read'] } });
      gate?.write(body);
      change(state);
      await expect(gate?.end()).rejects.toMatchObject({ code });
      expect(streamed.seen.refusal?.code).toBe(code);
    }
  });

  it('has to count until the end of a body, as docs/protocol.md says: its request can be signed again', async () => {
    const { signer, claims } = await workerOf();
    const body = new TextEncoder().encode('abc');
    let nowMs = NOW * 1000;
    const { verifier } = judge({ now: () => nowMs });
    const late = async () => {
      nowMs = claims.expiresAt * 1000 + 1;
      return body;
    };
    const request = await sign(signer, { method: 'POST', body });
    expect(await verifier.verify({ ...request, body: late })).toMatchObject({
      code: 'key_statement_invalid',
    });
  });

  it('gets the hint which host was signed, as for a device', async () => {
    const { signer } = await workerOf();
    const { verifier, seen } = judge({
      allowList: { ...allowList, hosts: ['api.example.com', 'other.example'] },
    });
    const verdict = await verifier.verify({ ...(await sign(signer)), authority: 'other.example' });
    expect(verdict).toMatchObject({ code: 'invalid_signature' });
    expect(seen.refusal?.detail).toContain('api.example.com');
  });

  it.each([
    '/.well-known/amesh/enroll',
    '/.well-known/amesh',
    '//.WELL-known/%41mesh/x?y',
    '/.well-known/amesh?x',
  ])('may not call amesh itself: %s', async (target) => {
    const { signer } = await workerOf();
    const { verifier } = judge();
    expect(await verifier.verify(await sign(signer, { target }))).toMatchObject({
      code: 'key_statement_invalid',
    });
    expect(
      await verifier.verify({ ...view, target, method: 'POST', headers: { 'authmesh-key': '' } }),
    ).toMatchObject({
      code: 'key_statement_invalid',
    });
    expect(await verifier.verify(await sign(await signerOf('controller'), { target }))).toMatchObject({
      ok: true,
    });
  });
});

describe('A connection that a working key has opened', () => {
  const DAYS = 5 * 86_400;

  /** A connection, and what the list and the clock say later. */
  async function open(changes: Parameters<typeof workerOf>[0] = {}) {
    const { signer, claims } = await workerOf(changes);
    const state = { list: listWith({ scopes: ['orders:*'] }) as object, now: NOW };
    const { verifier } = judge({
      allowList: { current: () => createAllowList(state.list) },
      now: () => state.now * 1000,
      require: 'orders:read',
    });
    const verdict = await verifier.verify(await sign(signer));
    if (!verdict.ok) throw new Error(verdict.kind);
    expect(await verdict.mayStillCall()).toBe(true);
    return { state, claims, mayStillCall: verdict.mayStillCall };
  }

  it('stays open after the end of its statement: the device has another working key by then', async () => {
    const { state, claims, mayStillCall } = await open();
    for (const now of [claims.expiresAt, claims.expiresAt + 1, NOW + DAYS]) {
      state.now = now;
      expect(await mayStillCall()).toBe(true);
    }
  });

  it.each<[string, object]>([
    ['the keys of its device are cut', listWith({ scopes: ['orders:*'], keysSince: NOW + 4000 })],
    ['its device is revoked', { ...allowList, devices: [] }],
    ['its device loses the scope', listWith({ scopes: ['orders:write'] })],
    ['its device may no longer call', listWith({ scopes: ['orders:*'], roles: ['target'] })],
    ['the trust in its device has ended', listWith({ scopes: ['orders:*'], expiresAt: NOW })],
  ])('is cut if %s, before and after the end of its statement', async (_what, list) => {
    const { state, claims, mayStillCall } = await open();
    const before = state.list;
    for (const now of [NOW + 10, claims.expiresAt + 5000]) {
      Object.assign(state, { list: before, now });
      expect(await mayStillCall()).toBe(true);
      state.list = list;
      expect(await mayStillCall()).toBe(false);
    }
  });

  it('is cut with the delegation of a delegate: when that ends, and when it is revoked', async () => {
    const ending = await open({ delegation: LENT });
    ending.state.now = ending.claims.expiresAt;
    expect(await ending.mayStillCall()).toBe(true);
    ending.state.now++;
    expect(await ending.mayStillCall()).toBe(false);
    const revoked = await open({ delegation: LENT });
    revoked.state.list = {
      ...listWith({ scopes: ['orders:*'] }),
      endedDelegations: [revoked.claims.id],
    };
    expect(await revoked.mayStillCall()).toBe(false);
  });
});

describe('A statement that was checked', () => {
  /** A provider that counts signature checks. */
  function counting() {
    const count = { verified: 0, imported: 0 };
    const importPublicKey = async (point: Uint8Array): Promise<PublicKey> => {
      count.imported++;
      const key = await nodeCrypto.importPublicKey(point);
      return {
        verify(signature, message) {
          count.verified++;
          return key.verify(signature, message);
        },
      };
    };
    return { count, crypto: { ...nodeCrypto, importPublicKey } };
  }

  it('costs one signature check for each request, and two for the first one', async () => {
    const { count, crypto } = counting();
    const { verifier } = judge({ crypto });
    const { signer } = await workerOf();
    for (const [i, total] of [2, 3, 4].entries()) {
      expect(await verifier.verify(await sign(signer)), `request ${i}`).toMatchObject({ ok: true });
      expect(count).toEqual({ verified: total, imported: 2 });
    }
  });

  it('costs two once, even if no request with it is ever right', async () => {
    const { count, crypto } = counting();
    const { verifier } = judge({ crypto });
    const { signer } = await workerOf();
    const wrong = { ...(await sign(signer)), target: '/changed'.padEnd(1200, 'x') }; // too long for hints
    for (let i = 1; i < 4; i++) {
      expect(await verifier.verify(wrong)).toMatchObject({ code: 'invalid_signature' });
      expect(count).toEqual({ verified: i + 1, imported: 2 });
    }
  });

  it('is not kept if the device did not sign it', async () => {
    const { count, crypto } = counting();
    const { verifier } = judge({ crypto });
    const { signer } = await workerOf({ deviceId: controller.deviceId }, 'stranger');
    const request = await sign(signer);
    for (let i = 1; i < 4; i++) {
      expect(await verifier.verify(request)).toMatchObject({ code: 'key_statement_invalid' });
      expect(count).toEqual({ verified: i, imported: 1 });
    }
  });

  it('stays if others come with wrong requests: 64 working keys continue at one check for each request', async () => {
    const { count, crypto } = counting();
    const { verifier } = judge({ crypto });
    const signers: Signer[] = [];
    for (let i = 0; i < 64; i++) signers.push((await workerOf()).signer);
    for (const signer of signers) await verifier.verify(await sign(signer));
    for (let i = 0; i < 3; i++) {
      const wrong = { ...(await sign((await workerOf()).signer)), target: '/changed'.padEnd(1200, 'x') };
      expect(await verifier.verify(wrong)).toMatchObject({ code: 'invalid_signature' });
    }
    count.verified = 0;
    for (const signer of signers)
      expect(await verifier.verify(await sign(signer))).toMatchObject({ ok: true });
    expect(count.verified).toBe(64);
  });

  it('is checked again if the list has another key for the device', async () => {
    const { signer } = await workerOf();
    let list = createAllowList(allowList);
    const { verifier } = judge({ allowList: { current: () => list } });
    expect(await verifier.verify(await sign(signer))).toMatchObject({ ok: true });
    list = createAllowList(listWith({ publicKey: stranger.publicKey }));
    await expect(verifier.verify(await sign(signer))).resolves.toMatchObject({
      code: 'allow_list_integrity_failure',
    });
  });

  it('is one of at most 64 of a device, and of 10,000 in all', () => {
    const cache = new StatementCache();
    const put = (deviceId: string, text: string) =>
      cache.set(text, { deviceId } as Parameters<StatementCache['set']>[1]);
    for (let i = 0; i < 100; i++) put('a', `${i}`);
    expect(cache.get('a', '35')).toBeUndefined();
    expect(cache.get('a', '36')).toBeDefined();
    put('a', '99'); // again
    expect(cache.get('a', '36')).toBeDefined();
    for (let i = 0; i < 10_000 - 64; i++) put(`b${i}`, 'x');
    expect(cache.get('a', '36')).toBeDefined();
    put('c', 'x');
    expect(cache.get('a', '36')).toBeUndefined();
    expect(cache.get('a', '37')).toBeDefined();
    for (let i = 0; i < 63; i++) put('c', `${i}`);
    expect(cache.get('a', '99')).toBeUndefined();
    expect(cache.get('b0', 'x')).toBeDefined();
    put('d', 'x');
    expect(cache.get('b0', 'x')).toBeUndefined();
  });
});

describe('A delegate', () => {
  it('is refused by a verify() that says nothing, taken by one with require, and either by the option', async () => {
    const { signer } = await workerOf({ delegation: LENT });
    const list = listWith({ scopes: ['*'] });
    for (const [options, code] of [
      [{}, 'delegate_not_allowed'],
      [{ delegates: false }, 'delegate_not_allowed'],
      [{ delegates: undefined }, 'delegate_not_allowed'],
      [{ delegates: true }, undefined],
      [{ require: 'orders:read' }, undefined],
      [{ require: 'orders:read', delegates: true }, undefined],
      [{ require: 'orders:read', delegates: undefined }, undefined],
      [{ require: 'orders:read', delegates: false }, 'delegate_not_allowed'],
      [{ require: 'orders:write' }, 'scope_missing'],
    ] as const) {
      const verdict = await judge({ ...options, allowList: list }).verifier.verify(await sign(signer));
      expect(verdict.ok ? undefined : verdict.code, JSON.stringify(options)).toBe(code);
      if (!verdict.ok) expect(verdict.answer.status).toBe(403);
    }
    expect(() => judge({ delegates: 'yes' as never })).toThrow(TypeError);
  });

  it('that was refused is a replay afterwards, and the expiry of its device is checked first', async () => {
    const { signer } = await workerOf({ delegation: LENT });
    const nonceStore = new InMemoryNonceStore({ now: () => NOW * 1000, startedAt: 0 });
    const signed = await sign(signer);
    expect(await judge({ nonceStore }).verifier.verify(signed)).toMatchObject({
      code: 'delegate_not_allowed',
    });
    const again = { ...signed, headers: { ...signed.headers } };
    const verdict = await judge({ nonceStore, delegates: true }).verifier.verify(again);
    expect(verdict).toMatchObject({ code: 'replay_detected' });
    const ended = judge({ allowList: listWith({ expiresAt: NOW - 1 }) });
    expect(await ended.verifier.verify(await sign(signer))).toMatchObject({ code: 'device_expired' });
  });

  it('asks for a missing scope from the side that lacks it', async () => {
    const { signer } = await workerOf({ delegation: LENT });
    const lent = judge({ require: 'orders:read', allowList: listWith({ scopes: ['reports:*'] }) });
    await lent.verifier.verify(await sign(signer));
    expect(lent.seen.refusal?.detail).toBe(
      'The delegate report-agent does not have the scope orders:read, which is required here.',
    );
    expect(lent.seen.refusal?.command).toEqual(['amesh', 'allow', controller.deviceId, 'orders:read']);
    const owned = judge({ require: 'orders:write', allowList: listWith({ scopes: ['orders:*'] }) });
    await owned.verifier.verify(await sign(signer));
    expect(owned.seen.refusal).toMatchObject({ scope: 'orders:write', command: undefined });
    expect(owned.seen.refusal?.fix).toBe('If it should have it: make a new delegation with this scope.');
  });

  it('is not confused with its device by the list of revoked ones, whatever its name', async () => {
    const [one, other] = [await workerOf({ delegation: LENT }), await workerOf({ delegation: LENT })];
    const { verifier, seen } = judge({
      allowList: { ...allowList, endedDelegations: [one.claims.id] },
      delegates: true,
    });
    expect(await verifier.verify(await sign(one.signer))).toMatchObject({ code: 'delegate_revoked' });
    expect(seen.refusal?.detail).toBe(`The delegate report-agent of ${controller.deviceId} was revoked.`);
    expect(await verifier.verify(await sign(other.signer))).toMatchObject({
      ok: true,
      caller: { delegate: { name: 'report-agent', id: other.claims.id } },
    });
    expect(() => createAllowList({ endedDelegations: ['x'] })).toThrow(TypeError);
    expect(() => createAllowList({ endedDelegations: 'x' as never })).toThrow(TypeError);
  });

  it('in a flood of its own leaves its device served, and the delegates of others', async () => {
    const now = () => NOW * 1000;
    const nonceStore = new InMemoryNonceStore({ capacity: 64, startedAt: 0, now });
    const { verifier, seen } = judge({ nonceStore, delegates: true });
    const flood = await workerOf({ delegation: LENT });
    const second = await workerOf({ delegation: { ...LENT, name: 'second' } });
    let served = 0;
    for (let i = 0; i < 20; i++) {
      const { signer } = i % 2 === 0 ? flood : second; // another delegation is no further room
      const verdict = await verifier.verify(await sign(signer));
      if (verdict.ok) served++;
      else expect(verdict.code).toBe('nonce_store_unavailable');
    }
    expect(served).toBe(64 / 8);
    expect(seen.refusal?.detail).toBe('The delegates of one device fill an eighth of the nonce store.');
    for (let i = 0; i < 32; i++)
      expect(await verifier.verify(await sign(await signerOf('controller')))).toMatchObject({ ok: true });
  });

  it.each([
    [['orders:*'], ['orders:read', 'reports:read'], ['orders:read']],
    [
      ['orders:read', 'reports:*'],
      ['orders:*', 'reports:a:*'],
      ['orders:read', 'reports:a:*'],
    ],
    [['*'], ['*'], ['*']],
    [['*'], [], []],
    [['orders:*'], ['orders'], []],
    [['a:*', 'a:b'], ['a:*'], ['a:*', 'a:b']],
  ])('with %j of a device with %j has %j', (lent, own, common) => {
    expect([...commonScopes(lent, own)].sort()).toEqual(common);
    expect([...commonScopes(own, lent)].sort()).toEqual(common);
  });

  it('is refused by a verifier without a device ID, which no delegation can name', async () => {
    const { signer } = await workerOf({ delegation: LENT });
    const verifier = createVerifier({
      allowList: { ...allowList, deviceId: null },
      now: () => NOW * 1000,
      nonceStore: new InMemoryNonceStore({ now: () => NOW * 1000, startedAt: 0 }),
      delegates: true,
    });
    expect(await verifier.verify(await sign(signer))).toMatchObject({ code: 'key_statement_invalid' });
  });
});
