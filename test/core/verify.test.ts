import {
  AmeshError,
  CODES,
  createAllowList,
  createVerifier,
  InMemoryNonceStore,
  type NonceStore,
  type Refusal,
  type RequestView,
  signRequest,
  streamUnverifiedBody,
} from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { NOW, signed, signerOf, verifierAt } from '../support/core';
import { vectorAllowList, vectors } from '../support/vectors';

const { controller, target } = vectors.devices;
const text = (value: string) => new TextEncoder().encode(value);
const at = (seconds: number) => ({ now: () => seconds * 1000 });

async function codeOf(promise: Promise<{ ok: boolean; code?: string }>) {
  const verdict = await promise;
  return verdict.ok ? 'accepted' : verdict.code;
}

describe('a verdict', () => {
  it('names the caller and returns the body', async () => {
    const verdict = await verifierAt().verify(await signed({ method: 'POST', body: text('hello') }));
    expect(verdict).toMatchObject({
      ok: true,
      caller: { deviceId: controller.deviceId, friendlyName: 'controller', verifiedAt: NOW },
      request: { body: text('hello') },
    });
  });

  it('says later whether its caller may still call, by the list of that moment', async () => {
    const device = vectorAllowList.devices.find(({ deviceId }) => deviceId === controller.deviceId);
    if (device === undefined) throw new Error('not in the vectors');
    const listOf = (scopes: string[]) =>
      createAllowList({ hosts: ['api.example.com'], devices: [{ ...device, scopes }] });
    let list = listOf(['live']);
    let isThere = true;
    const allowList = {
      current: async () => {
        if (!isThere) throw new AmeshError(CODES.allow_list_unavailable);
        return list;
      },
    };
    const verdict = await verifierAt({ allowList, require: 'live' }).verify(await signed());
    if (!verdict.ok) throw new Error(verdict.kind);
    expect(await verdict.mayStillCall()).toBe(true);
    isThere = false;
    expect(await verdict.mayStillCall()).toBe(false);
    isThere = true;
    list = listOf([]);
    expect(await verdict.mayStillCall()).toBe(false);
    list = listOf(['live']);
    expect(await verdict.mayStillCall()).toBe(true);
    list = createAllowList({ hosts: ['api.example.com'], devices: [] });
    expect(await verdict.mayStillCall()).toBe(false);
  });

  it('tells the client less than the log', async () => {
    const refusals: Refusal[] = [];
    const verifier = verifierAt({ onRefusal: (refusal) => refusals.push(refusal) });
    const verdict = await verifier.verify({ ...(await signed()), method: 'DELETE' });
    if (verdict.ok) throw new Error('accepted');
    expect(verdict).toMatchObject({ code: 'invalid_signature', answer: { status: 401 } });
    const { response } = verdict;
    expect(response.status).toBe(401);
    expect(await response.json()).toEqual({ error: 'unauthorized' });
    expect(response.headers.get('www-authenticate')).toBe('AuthMesh error="unauthorized"');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(refusals).toMatchObject([
      {
        code: 'invalid_signature',
        request: {
          method: 'DELETE',
          authority: 'api.example.com',
          target: '/',
          deviceId: controller.deviceId,
          covered: ['@method', '@authority', '@path', '@query'],
        },
      },
    ]);
  });

  it('gives the time if the time was the reason', async () => {
    const verdict = await verifierAt(at(NOW + 31)).verify(await signed());
    if (verdict.ok) throw new Error('accepted');
    expect(verdict.response.headers.get('date')).toBe(new Date((NOW + 31) * 1000).toUTCString());
    expect(verdict.response.headers.get('www-authenticate')).toBe('AuthMesh error="timestamp_out_of_range"');
  });

  it('stands, whatever onRefusal throws', async () => {
    const verifier = verifierAt({
      onRefusal: () => {
        throw new Error('the logger is broken');
      },
    });
    expect(await codeOf(verifier.verify({ ...(await signed()), headers: {} }))).toBe('missing_header');
  });
});

describe('onRefusal', () => {
  it('that fails later does not end the process', async () => {
    const unhandled: unknown[] = [];
    const listener = (reason: unknown) => void unhandled.push(reason);
    process.on('unhandledRejection', listener);
    const verifier = verifierAt({
      onRefusal: (async () => {
        throw new Error('the metrics are down');
      }) as () => void,
    });
    await verifier.verify({ ...(await signed()), headers: {} });
    await new Promise((resolve) => setTimeout(resolve, 20));
    process.off('unhandledRejection', listener);
    expect(unhandled).toEqual([]);
  });
});

describe('check 3: hosts', () => {
  const requestTo = async (authority: string, options?: Parameters<typeof signed>[1]) =>
    signed({ authority }, options);
  const without = { allowList: { ...vectorAllowList, hosts: [] } };

  it('accepts its hosts only, including the port', async () => {
    const verifier = verifierAt({ hosts: ['a.example', 'b.example:8443'] });
    expect(await codeOf(verifier.verify(await requestTo('a.example')))).toBe('accepted');
    expect(await codeOf(verifier.verify(await requestTo('A.EXAMPLE:443')))).toBe('accepted');
    expect(await codeOf(verifier.verify(await requestTo('b.example:8443')))).toBe('accepted');
    expect(await codeOf(verifier.verify(await requestTo('b.example')))).toBe('wrong_host');
    expect(await codeOf(verifier.verify(await requestTo('api.example.com')))).toBe('wrong_host');
    expect(await codeOf(verifier.verify(await requestTo('localhost:3000')))).toBe('wrong_host');
  });

  it('without hosts accepts loopback names and its own ID', async () => {
    const verifier = verifierAt(without);
    for (const name of ['localhost:3000', 'api.localhost', '127.0.0.1:1', '127.9.9.9', '[::1]:3000']) {
      const request = await requestTo(name);
      const localPort = Number(/:(\d+)$/.exec(name)?.[1] ?? 80);
      expect(await codeOf(verifier.verify({ ...request, localPort })), name).toBe('accepted');
      const unseen = await requestTo(name);
      expect(await codeOf(verifier.verify(unseen)), `${name}, where no port is seen`).toBe('wrong_host');
    }
    for (const name of [
      'api.example.com',
      'localhost.example.com',
      '127.0.0.1.example.com',
      '[::2]',
      '10.0.0.1',
      'notlocalhost',
    ]) {
      expect(await codeOf(verifier.verify(await requestTo(name))), name).toBe('wrong_host');
    }
    const named = await requestTo('api.example.com', { targetDeviceId: target.deviceId });
    expect(await codeOf(verifier.verify(named))).toBe('accepted');
  });

  it('refuses a request for another local server on the same machine', async () => {
    const request = await requestTo('localhost:3000');
    expect(await codeOf(verifierAt(without).verify({ ...request, localPort: 4000 }))).toBe('wrong_host');
    expect(await codeOf(verifierAt(without).verify({ ...request, localPort: 3000 }))).toBe('accepted');
    const standard = await requestTo('localhost');
    expect(await codeOf(verifierAt(without).verify({ ...standard, localPort: 3000 }))).toBe('wrong_host');
    expect(await codeOf(verifierAt(without).verify({ ...standard, localPort: 443 }))).toBe('accepted');
  });

  it('says which line sets a host', async () => {
    const refusals: Refusal[] = [];
    const verifier = verifierAt({ onRefusal: (refusal) => refusals.push(refusal) });
    await verifier.verify(await requestTo('new.example:8080'));
    expect(refusals[0]).toMatchObject({ code: 'wrong_host', status: 421 });
    expect(refusals[0]?.fix).toBe(
      "If a proxy put it in: verify({ authority: 'api.example.com' }). If callers use it: amesh config hosts new.example:8080,api.example.com",
    );
    await verifierAt({ ...without, onRefusal: (it) => refusals.push(it) }).verify({
      ...(await requestTo('new.example')),
      localPort: 3000,
    });
    expect(refusals[1]?.fix).toBe('If callers use it: amesh config hosts new.example,localhost:3000');
  });

  it('does not advise to set something that would have no effect', async () => {
    const refusals: Refusal[] = [];
    const verifier = verifierAt({ hosts: ['a.example'], onRefusal: (it) => refusals.push(it) });
    await verifier.verify(await requestTo('new.example'));
    expect(refusals[0]?.fix).toMatch(/add it to verify\(\{ hosts \}\) or AMESH_HOSTS, now a\.example$/);
  });

  it('refuses the name of another target', async () => {
    const request = await signed({}, { targetDeviceId: vectors.devices.stranger.deviceId });
    const refusals: Refusal[] = [];
    const verifier = verifierAt({ onRefusal: (it) => refusals.push(it) });
    expect(await codeOf(verifier.verify(request))).toBe('wrong_target');
    const { target, stranger } = vectors.devices;
    expect(refusals[0]?.detail).toBe(
      `The request is for ${stranger.deviceId}, but this device is ${target.deviceId}.`,
    );
  });

  it('quotes only what is a name of a target', async () => {
    const refusals: Refusal[] = [];
    const verifier = verifierAt({ onRefusal: (it) => refusals.push(it) });
    const { headers, ...request } = await signed();
    const named = { ...request, headers: { ...headers, 'authmesh-target': '\x9b31m'.repeat(1000) } };
    expect(await codeOf(verifier.verify(named))).toBe('wrong_target');
    expect(refusals[0]?.detail).toMatch(/^The request is for none, but this device is am_/);
  });

  it('trusts X-Forwarded-Host only if it is told to', async () => {
    const request = await requestTo('api.example.com');
    const forwarded = {
      ...request,
      authority: 'inner:3000',
      headers: { ...request.headers, 'x-forwarded-host': 'api.example.com' },
    };
    expect(await codeOf(verifierAt().verify(forwarded))).toBe('wrong_host');
    expect(await codeOf(verifierAt({ hosts: ['inner:3000'] }).verify(forwarded))).toBe('invalid_signature');
    expect(await codeOf(verifierAt({ trustForwardedHost: true }).verify(forwarded))).toBe('accepted');
    expect(await codeOf(verifierAt().verify({ ...forwarded }, { trustForwardedHost: true }))).toBe(
      'accepted',
    );
    const appended = {
      ...forwarded,
      headers: { ...forwarded.headers, 'x-forwarded-host': 'evil.example, api.example.com' },
    };
    expect(await codeOf(verifierAt({ trustForwardedHost: true }).verify(appended))).toBe('wrong_host');
  });

  it('restores what a proxy has rewritten', async () => {
    const request = await signed({ target: '/v1/orders?a=1' });
    const seen = { ...request, authority: 'inner:3000', target: '/orders?a=1' };
    const verifier = verifierAt({ authority: 'api.example.com', pathPrefix: '/v1' });
    expect(await codeOf(verifier.verify(seen))).toBe('accepted');
    expect(await codeOf(verifierAt({ authority: 'api.example.com' }).verify({ ...seen }))).toBe(
      'invalid_signature',
    );
  });
});

describe('check 4: time', () => {
  it('is exact to the millisecond', async () => {
    const verify = async (nowMs: number) =>
      codeOf(
        createVerifier({
          allowList: vectorAllowList,
          now: () => nowMs,
          nonceStore: new InMemoryNonceStore({ now: () => nowMs, startedAt: NOW - 100 }),
        }).verify(await signed()),
      );
    expect(await verify((NOW + 30) * 1000)).toBe('accepted');
    expect(await verify((NOW + 30) * 1000 + 1)).toBe('timestamp_out_of_range');
    expect(await verify((NOW - 30) * 1000)).toBe('accepted');
    expect(await verify((NOW - 30) * 1000 - 1)).toBe('timestamp_out_of_range');
  });

  it('allows no tolerance for an end', async () => {
    const request = () => signed({}, { format: 'rfc9421', expires: NOW + 5 });
    expect(await codeOf(verifierAt(at(NOW + 5)).verify(await request()))).toBe('accepted');
    expect(await codeOf(verifierAt({ now: () => (NOW + 5) * 1000 + 1 }).verify(await request()))).toBe(
      'timestamp_out_of_range',
    );
  });

  it('a restart opens no gap: what was signed before the memory store began is refused', async () => {
    const nonceStore = new InMemoryNonceStore({ ...at(NOW), startedAt: NOW });
    expect(await codeOf(verifierAt({ nonceStore }).verify(await signed({}, { created: NOW - 1 })))).toBe(
      'timestamp_out_of_range',
    );
    expect(await codeOf(verifierAt({ nonceStore }).verify(await signed()))).toBe('accepted');
  });

  it('a store that outlives the process has no start', async () => {
    const nonceStore: NonceStore = { claim: () => true };
    expect(await codeOf(verifierAt({ nonceStore }).verify(await signed({}, { created: NOW - 30 })))).toBe(
      'accepted',
    );
  });
});

describe('checks 5 to 7: the device', () => {
  it('ends with its lease', async () => {
    const device = { ...controller, friendlyName: 'c', roles: ['controller' as const], expiresAt: NOW + 10 };
    const allowList = { deviceId: null, hosts: ['api.example.com'], devices: [device] };
    expect(await codeOf(verifierAt({ allowList, ...at(NOW + 10) }).verify(await signed()))).toBe('accepted');
    expect(await codeOf(verifierAt({ allowList, ...at(NOW + 11) }).verify(await signed()))).toBe(
      'device_expired',
    );
  });

  it('says that a lease has ended only if the signature is right, and once the nonce is claimed', async () => {
    const device = { ...controller, friendlyName: 'c', roles: ['controller' as const] };
    const listWith = (expiresAt: number) =>
      createAllowList({ hosts: ['api.example.com'], devices: [{ ...device, expiresAt }] });
    let list = listWith(NOW - 1);
    const verifier = verifierAt({
      allowList: { current: () => list },
      nonceStore: new InMemoryNonceStore(at(NOW)),
    });
    const request = await signed();
    const forged = await verifier.verify({ ...request, method: 'DELETE' });
    expect(!forged.ok && [forged.code, forged.answer.body]).toEqual([
      'invalid_signature',
      '{"error":"unauthorized"}',
    ]);
    const ended = await verifier.verify(request);
    expect(!ended.ok && [ended.code, ended.answer]).toEqual([
      'device_expired',
      expect.objectContaining({
        status: 401,
        body: '{"error":"device_expired"}',
        headers: expect.objectContaining({ 'www-authenticate': 'AuthMesh error="device_expired"' }),
      }),
    ]);
    list = listWith(NOW + 90);
    expect(await codeOf(verifier.verify({ ...request }))).toBe('replay_detected'); // recorded while it had ended
    expect(await codeOf(verifier.verify(await signed()))).toBe('accepted');
  });

  it('a known ID with another key is a broken list, not a device', async () => {
    const device = {
      deviceId: controller.deviceId,
      publicKey: vectors.devices.stranger.publicKey,
      friendlyName: 'c',
      roles: ['controller' as const],
    };
    const allowList = { deviceId: null, hosts: ['api.example.com'], devices: [device] };
    expect(await codeOf(verifierAt({ allowList }).verify(await signed()))).toBe(
      'allow_list_integrity_failure',
    );
  });

  it('a key that has verified under its own ID is not accepted for another ID', async () => {
    const own = { ...controller, friendlyName: 'c', roles: ['controller' as const] };
    const admin = { ...own, deviceId: 'am_AAAAAAAAAAAAAAAA', friendlyName: 'admin' };
    const verifier = verifierAt({ allowList: { hosts: ['api.example.com'], devices: [own, admin] } });
    expect(await codeOf(verifier.verify(await signed()))).toBe('accepted');
    const request = await signed();
    const claimed = String(request.headers.authorization).replace(own.deviceId, admin.deviceId);
    expect(await codeOf(verifier.verify({ ...request, headers: { authorization: claimed } }))).toBe(
      'allow_list_integrity_failure',
    );
  });

  it('a key that has verified is not kept for an ID that has another one by now', async () => {
    const own = { ...controller, friendlyName: 'c', roles: ['controller' as const] };
    const listWith = (publicKey: string) =>
      createAllowList({ hosts: ['api.example.com'], devices: [{ ...own, publicKey }] });
    let list = listWith(own.publicKey);
    const verifier = verifierAt({ allowList: { current: () => list } });
    expect(await codeOf(verifier.verify(await signed()))).toBe('accepted');
    list = listWith(vectors.devices.stranger.publicKey);
    expect(await codeOf(verifier.verify(await signed()))).toBe('allow_list_integrity_failure');
  });

  it('a signature by another key in the name of a device is refused', async () => {
    const good = await signed();
    const forged = await signRequest(
      { method: 'GET', target: '/', authority: 'api.example.com', headers: {} },
      await signerOf('stranger'),
      { created: NOW },
    );
    const claimed = String(forged.headers.authorization).replace(
      vectors.devices.stranger.deviceId,
      controller.deviceId,
    );
    expect(await codeOf(verifierAt().verify({ ...good, headers: { authorization: claimed } }))).toBe(
      'invalid_signature',
    );
  });
});

describe('an apostrophe that the runtime hides', () => {
  it.each([
    ['/a/b', 'accepted'],
    ['/a/../b', 'malformed_header'],
  ])('at %s is %s', async (path, code) => {
    const view = {
      method: 'GET',
      authority: 'api.example.com',
      headers: {},
      body: null,
    };
    const { headers } = await signRequest({ ...view, target: `${path}?q='` }, await signerOf('controller'), {
      created: NOW,
    });
    const came = { ...view, headers, target: `${path}?q=%27`, hidesApostrophe: true, source: {} };
    const verifier = verifierAt({ hosts: ['api.example.com'] });
    expect(await codeOf(verifier.verify(came))).toBe(code);
  });
});

describe('check 8: the nonce', () => {
  it('the same request is not a replay the second time, even if it is frozen', async () => {
    const verifier = verifierAt();
    const view = Object.freeze(await signed());
    expect(await codeOf(verifier.verify(view))).toBe('accepted');
    expect(await codeOf(verifier.verify(view))).toBe('accepted');
    expect(await codeOf(verifier.verify({ ...view }))).toBe('replay_detected'); // a copy is another request
    expect(Reflect.ownKeys(view)).toEqual(Reflect.ownKeys(await signed()));
  });

  it('a replay is refused, but the same request verified twice is not a replay', async () => {
    const verifier = verifierAt();
    const request = await signed();
    const first = await verifier.verify(request);
    expect(first.ok).toBe(true);
    expect(await codeOf(verifier.verify(request))).toBe('accepted');
    if (first.ok) expect(await codeOf(verifier.verify(first.request))).toBe('accepted');
    expect(await codeOf(verifier.verify({ ...request }))).toBe('replay_detected');
  });

  it('a replay in the view of another request is refused', async () => {
    const verifier = verifierAt();
    const [view, captured] = [await signed(), await signed()];
    expect(await codeOf(verifier.verify(view))).toBe('accepted');
    expect(await codeOf(verifier.verify({ ...captured }))).toBe('accepted');
    Object.assign(view, captured); // as in code that keeps such objects for later requests
    expect(await codeOf(verifier.verify(view))).toBe('replay_detected');
  });

  it('of one request sent a hundred times at once, one is accepted', async () => {
    const verifier = verifierAt();
    const request = await signed();
    const verdicts = await Promise.all(Array.from({ length: 100 }, () => verifier.verify({ ...request })));
    expect(verdicts.filter(({ ok }) => ok)).toHaveLength(1);
  });

  it('nothing is claimed, and no body byte read, before the signature is right', async () => {
    let claimed = 0;
    let read = 0;
    const nonceStore: NonceStore = { claim: () => ++claimed > 0 };
    const body = async () => {
      read++;
      return text('x');
    };
    const good = await signed({ method: 'POST', body: text('x') });
    const attempts: Partial<RequestView>[] = [
      { headers: {} },
      { authority: 'other.example' },
      { method: 'PUT' },
      { target: '/other' },
      {
        headers: {
          ...good.headers,
          authorization: String(good.headers.authorization).replace(/id="[^"]+"/, 'id="am_AAAAAAAAAAAAAAAA"'),
        },
      },
    ];
    for (const attempt of attempts)
      expect((await verifierAt({ nonceStore }).verify({ ...good, body, ...attempt })).ok).toBe(false);
    expect({ claimed, read }).toEqual({ claimed: 0, read: 0 });
    expect((await verifierAt({ nonceStore }).verify({ ...good, body })).ok).toBe(true);
    expect({ claimed, read }).toEqual({ claimed: 1, read: 1 });
  });

  it('is kept for as long as any verifier could accept the request, and 10 s for other clocks', async () => {
    const kept: number[] = [];
    const nonceStore: NonceStore = {
      claim(_device, _nonce, keepUntilMs) {
        kept.push(keepUntilMs / 1000 - NOW);
        return true;
      },
    };
    await verifierAt({ nonceStore }).verify(await signed());
    await verifierAt({ nonceStore }).verify(await signed({}, { created: NOW + 30 }));
    await verifierAt({ nonceStore, nonceWindowSeconds: 600 }).verify(await signed());
    await verifierAt({ nonceStore, clockSkewSeconds: 300, ...at(NOW) }).verify(
      await signed({}, { created: NOW + 300 }),
    );
    expect(kept).toEqual([310, 340, 600, 610]);
  });

  it('a store that loses its memory during a claim accepts nothing from before', async () => {
    const nonceStore = {
      startedAt: NOW - 60,
      async claim() {
        nonceStore.startedAt = NOW + 1;
        return true;
      },
    };
    expect(await codeOf(verifierAt({ nonceStore }).verify(await signed()))).toBe('timestamp_out_of_range');
    expect(await codeOf(verifierAt({ nonceStore }).verify(await signed({}, { created: NOW + 1 })))).toBe(
      'accepted',
    );
  });

  it('a store that fails accepts nobody', async () => {
    for (const claim of [
      () => {
        throw new Error('down');
      },
      async () => {
        throw new Error('down');
      },
    ]) {
      const verdict = await verifierAt({ nonceStore: { claim } }).verify(await signed());
      expect(verdict).toMatchObject({ ok: false, code: 'nonce_store_unavailable', answer: { status: 503 } });
    }
    const odd = { claim: () => 1 as unknown as boolean };
    expect(await codeOf(verifierAt({ nonceStore: odd }).verify(await signed()))).toBe('replay_detected');
  });
});

describe('check 10: the body', () => {
  it('may be as large as allowed and no larger', async () => {
    const request = () => signed({ method: 'POST', body: text('12345') });
    expect(await codeOf(verifierAt({ maxBodyBytes: 5 }).verify(await request()))).toBe('accepted');
    expect(await codeOf(verifierAt({ maxBodyBytes: 4 }).verify(await request()))).toBe('payload_too_large');
    expect(await codeOf(verifierAt({ maxBodyBytes: 0 }).verify(await signed()))).toBe('accepted');
  });

  it('accepts a SHA-256 digest next to another one, and no other one alone', async () => {
    const good = await signed({ method: 'POST', body: text('hello') });
    const digest = String(good.headers['content-digest']);
    for (const [value, code] of [
      [`md5=:AAAAAAAAAAAAAAAAAAAAAA==:, ${digest}`, 'accepted'],
      ['md5=:AAAAAAAAAAAAAAAAAAAAAA==:', 'content_digest_mismatch'],
      [`${digest}, ${digest}`, 'content_digest_mismatch'],
      ['sha-256=:AAAA:', 'content_digest_mismatch'],
      ['rubbish', 'content_digest_mismatch'],
      [`x="${'x'.repeat(1024 - digest.length - 6)}", ${digest}`, 'accepted'],
      [`x="${'x'.repeat(1024 - digest.length - 5)}", ${digest}`, 'content_digest_mismatch'],
    ] as const) {
      const view = {
        method: 'POST',
        target: '/',
        authority: 'api.example.com',
        headers: { 'content-digest': value },
      };
      // Signed without a body, so that the digest given here stays; the body comes afterwards.
      const request = await signRequest(view, await signerOf('controller'), { created: NOW });
      expect(await codeOf(verifierAt().verify({ ...request, body: text('hello') })), value).toBe(code);
    }
  });

  it('a revocation applies to a request whose body is still on its way', async () => {
    let list = createAllowList(vectorAllowList);
    const good = await signed({ method: 'POST', body: text('x') });
    const slow = async () => {
      list = createAllowList({ ...vectorAllowList, devices: [] });
      return text('x');
    };
    const verifier = verifierAt({ allowList: { current: () => list } });
    expect(await codeOf(verifier.verify({ ...good, body: slow }))).toBe('unknown_device');
  });

  it('a failure while it is read is reported as one of the body', async () => {
    const good = await signed({ method: 'POST', body: text('x') });
    const failing = async () => {
      throw new Error('socket hang up');
    };
    expect(await codeOf(verifierAt().verify({ ...good, body: failing }))).toBe('body_incomplete');
  });
});

describe('the allow list', () => {
  const failing = (error: unknown) => ({
    allowList: {
      current() {
        throw error;
      },
    },
  });

  it('that cannot be read accepts nobody', async () => {
    const verdict = await verifierAt(failing(new Error('EACCES'))).verify(await signed());
    expect(verdict).toMatchObject({ ok: false, code: 'allow_list_unavailable', answer: { status: 503 } });
  });

  it.each([
    ['allow_list_integrity_failure', 500, 'allow_list_integrity_failure'],
    ['no_identity', 503, 'allow_list_unavailable'],
  ] as const)('that fails with %s is a %i', async (code, status, wire) => {
    const verdict = await verifierAt(failing(new AmeshError(CODES[code]))).verify(await signed());
    if (verdict.ok) throw new Error('accepted');
    expect(verdict).toMatchObject({ code, answer: { status } });
    expect(verdict.answer.body).toBe(JSON.stringify({ error: wire }));
  });

  it('is asked about each request, so that a revocation applies immediately', async () => {
    let list = createAllowList(vectorAllowList);
    const verifier = verifierAt({ allowList: { current: () => list } });
    expect(await codeOf(verifier.verify(await signed()))).toBe('accepted');
    list = createAllowList({ ...vectorAllowList, devices: [] });
    expect(await codeOf(verifier.verify(await signed()))).toBe('unknown_device');
  });
});

describe('a web Request', () => {
  const url = 'https://api.example.com/orders?b=2&a=1';
  const signer = () => signerOf('controller');

  it('is signed and verified with its body, which can be read afterwards', async () => {
    for (const format of ['authmesh', 'rfc9421'] as const) {
      const request = new Request(url, { method: 'POST', body: 'hello', headers: { 'x-other': '1' } });
      const sent = await signRequest(request, await signer(), { format, created: NOW });
      const verifier = verifierAt();
      const verdict = await verifier.verify(sent);
      if (!verdict.ok) throw new Error(verdict.code);
      expect(await verdict.request.clone().text()).toBe('hello');
      expect(verdict.request.headers.get('x-other')).toBe('1');
      expect(await codeOf(verifier.verify(verdict.request))).toBe('accepted');
    }
  });

  it('is not verified from a body that somebody has already read', async () => {
    const sent = await signRequest(new Request(url, { method: 'POST', body: 'hello' }), await signer(), {
      created: NOW,
    });
    await sent.clone().text();
    await sent.text();
    expect(await codeOf(verifierAt().verify(sent))).toBe('body_parser_ordering_error');
  });

  it('with a body beyond the limit is refused while it streams', async () => {
    const sent = await signRequest(
      new Request(url, { method: 'POST', body: 'x'.repeat(100) }),
      await signer(),
      { created: NOW },
    );
    expect(await codeOf(verifierAt({ maxBodyBytes: 99 }).verify(sent))).toBe('payload_too_large');
  });

  it('is refused before anybody reads its body, if no body can save it', async () => {
    // On Node, some servers make a stream of it then, and no longer discard what the client still sends.
    const request = new Request(url, { method: 'POST', body: 'hello', headers: { 'content-length': '5' } });
    let looked = 0;
    Object.defineProperty(request, 'body', {
      get() {
        looked++;
        return null;
      },
    });
    const verdict = await verifierAt().verify(request);
    expect(verdict).toMatchObject({ ok: false, code: 'missing_header', bodyUnread: true });
    expect(looked).toBe(0);
  });

  it.each([{}, { [streamUnverifiedBody]: true as const }])(
    'is refused if the body that was signed and announced is not there: %o',
    async (options) => {
      const sent = await signRequest(new Request(url, { method: 'POST', body: 'hello' }), await signer(), {
        created: NOW,
      });
      const bare = new Request(url, {
        method: 'POST',
        headers: { ...Object.fromEntries(sent.headers), 'content-length': '5' },
      });
      const code = await codeOf(verifierAt(options).verify(bare));
      expect(code).toBe(streamUnverifiedBody in options ? 'body_incomplete' : 'content_digest_mismatch');
    },
  );

  it('without a body is signed', async () => {
    const sent = await signRequest(new Request(url), await signer(), { created: NOW });
    expect(await codeOf(verifierAt().verify(sent))).toBe('accepted');
  });

  it('is signed and accepted without its fragment, which is not sent', async () => {
    const sent = await signRequest(new Request(`${url}#?a=2`), await signer(), { created: NOW });
    expect(await codeOf(verifierAt().verify(sent))).toBe('malformed_header');
    const { headers } = sent;
    expect(await codeOf(verifierAt().verify(new Request(url, { headers })))).toBe('accepted');
  });
});
