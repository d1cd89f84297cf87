import {
  type Accepted,
  type AllowListSource,
  createAllowList,
  createVerifier,
  hasScope,
  InMemoryNonceStore,
  isAmeshError,
  type Refusal,
  type Refused,
  type RequestView,
  signRequest,
  streamUnverifiedBody,
  type VerifierOptions,
} from '@authmesh/sdk/core';
import { describe, expect, it, vi } from 'vitest';
import { createVerifierWith } from '../../src/core/verify/verify';
import { gateStream } from '../../src/core/wire/body-gate';
import { NOW, signed, signerOf, verifierAt } from '../support/core';
import { vectorAllowList, vectors } from '../support/vectors';

const { deviceId } = vectors.devices.controller;
const text = (value: string) => new TextEncoder().encode(value);

/** The vectors' list, in which the controller has these scopes. */
const listWith = (scopes?: readonly string[], more: object = {}) =>
  createAllowList({
    ...vectorAllowList,
    hosts: ['api.example.com'],
    devices: vectorAllowList.devices.map((device) =>
      device.deviceId === deviceId ? { ...device, ...(scopes && { scopes }), ...more } : device,
    ),
  });

/** A list that a test can change. */
class Changing implements AllowListSource {
  list = listWith();
  current = vi.fn(() => this.list);
}

function requiring(scopes: readonly string[] | undefined, options: Partial<VerifierOptions>) {
  const refusals: Refusal[] = [];
  const verifier = verifierAt({
    allowList: listWith(scopes),
    onRefusal: (refusal) => void refusals.push(refusal),
    ...options,
  });
  return { verifier, refusals };
}

async function codeOf(verifying: Promise<Accepted<unknown> | Refused>): Promise<string> {
  const verdict = await verifying;
  return verdict.ok ? 'accepted' : verdict.code;
}

describe('check 9: require', () => {
  it('refuses a device without the scope, and names only that scope', async () => {
    const { verifier, refusals } = requiring(['orders:write'], { require: 'orders:read' });
    const verdict = await verifier.verify(await signed());
    if (verdict.ok) throw new Error('accepted');
    expect(verdict).toMatchObject({ code: 'scope_missing', bodyUnread: false });
    expect(verdict.answer).toEqual({
      status: 403,
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
      body: '{"error":"scope_missing","scope":"orders:read"}',
    });
    expect(await verdict.response.json()).toEqual({ error: 'scope_missing', scope: 'orders:read' });
    expect(refusals).toMatchObject([
      {
        code: 'scope_missing',
        status: 403,
        scope: 'orders:read',
        detail: 'The device does not have the scope orders:read, which is required here.',
        fix: `If it should have it: amesh allow ${deviceId} orders:read`,
        command: ['amesh', 'allow', deviceId, 'orders:read'],
        request: { deviceId },
      },
    ]);
  });

  it.each<[readonly string[] | undefined, string | string[], string | undefined]>([
    [undefined, 'orders:read', 'orders:read'],
    [[], 'orders:read', 'orders:read'],
    [['orders:read'], 'orders:read', undefined],
    [['orders:read'], ['orders:read', 'orders:read'], undefined],
    [['orders:read'], ['orders:read', 'orders:write'], 'orders:write'],
    [['orders:read', 'orders:write'], ['orders:write', 'orders:read'], undefined],
    [['orders:*'], ['orders:read', 'orders:write'], undefined],
    [['orders:*'], 'orders', 'orders'],
    [['orders:*'], 'ordersx:read', 'ordersx:read'],
    [['*'], ['anything', 'at:all'], undefined],
    [['reports:*'], 'orders:read', 'orders:read'],
  ])('a device with %j, where %j is required, lacks %s', async (scopes, require, missing) => {
    const { verifier, refusals } = requiring(scopes, { require });
    expect(await codeOf(verifier.verify(await signed()))).toBe(missing ? 'scope_missing' : 'accepted');
    expect(refusals.map(({ scope }) => scope)).toEqual(missing ? [missing] : []);
  });

  it('requires nothing of a device if it is left out', async () => {
    const { verifier } = requiring(undefined, {});
    expect(await codeOf(verifier.verify(await signed()))).toBe('accepted');
  });

  it('keeps the list that it was given, whatever happens to that list', async () => {
    const require = ['orders:read'];
    const { verifier } = requiring(['orders:write'], { require });
    require[0] = 'orders:write';
    expect(await codeOf(verifier.verify(await signed()))).toBe('scope_missing');
  });

  it.each<[string, unknown]>([
    ['an empty list', []],
    ['an empty text', ''],
    ['undefined, such as a misspelt constant', undefined],
    ['null', null],
    ['a number', 7],
    ['true', true],
    ['a wildcard', '*'],
    ['a wildcard at the end', 'orders:*'],
    ['a wildcard in a list', ['orders:read', 'orders:*']],
    ['upper case', 'Orders:read'],
    ['a space at the end', 'orders:read '],
    ['two scopes in one text', 'orders:read orders:write'],
    ['a line feed', 'orders:read\n'],
    ['65 characters', 'x'.repeat(65)],
    ['a hole in a list', Object.assign(new Array(2), { 1: 'orders:read' })],
    ['undefined in a list', [undefined]],
    ['a list in a list', [['orders:read']]],
    ['a Set', new Set(['orders:read'])],
    ['an object', { scope: 'orders:read' }],
    ['a String object', Object('orders:read')],
  ])('%s is a TypeError at the call that gets it', (_, require) => {
    expect(() => createVerifier({ allowList: {}, require: require as string })).toThrow(TypeError);
  });

  it.each<[string, object, (good: RequestView) => RequestView]>([
    ['missing_header', {}, (good) => ({ ...good, headers: {} })],
    ['wrong_host', {}, (good) => ({ ...good, authority: 'other.example.com' })],
    ['invalid_signature', {}, (good) => ({ ...good, method: 'DELETE' })],
    ['device_expired', { expiresAt: NOW - 1 }, (good) => good],
    ['role_not_allowed', { roles: ['target'] }, (good) => good],
  ])('comes after %s, so that only a proven caller learns about scopes', async (code, more, change) => {
    const verifier = verifierAt({ allowList: listWith([], more), require: 'orders:read' });
    expect(await codeOf(verifier.verify(change(await signed())))).toBe(code);
  });

  it('comes after the nonce: a recorded request that was refused is a replay once the scope was given', async () => {
    const source = new Changing();
    const verifier = verifierAt({ allowList: source, require: 'orders:read' });
    const request = await signed();
    expect(await codeOf(verifier.verify(request))).toBe('scope_missing');
    expect(await codeOf(verifier.verify({ ...request }))).toBe('replay_detected');
    source.list = listWith(['orders:read']);
    expect(await codeOf(verifier.verify({ ...request }))).toBe('replay_detected');
    expect(await codeOf(verifier.verify(await signed()))).toBe('accepted');
  });

  it('comes before the body, which it does not read', async () => {
    const { verifier } = requiring([], { require: 'orders:read' });
    const body = vi.fn(async () => text('x'));
    const request = { ...(await signed({ method: 'POST', body: text('x') })), body };
    const verdict = await verifier.verify(request);
    expect(verdict).toMatchObject({ ok: false, code: 'scope_missing', bodyUnread: true });
    expect(body).not.toHaveBeenCalled();
  });

  it('does not count a refused request as use: nothing is noted, and no lease is renewed', async () => {
    const onAccept = vi.fn(() => undefined);
    const now = () => NOW * 1000;
    const nonceStore = new InMemoryNonceStore({ now, startedAt: NOW - 60 });
    const verifierOf = (require: string) =>
      createVerifierWith({ allowList: listWith(['orders:read']), now, nonceStore, require }, { onAccept });
    expect((await verifierOf('orders:write').verify(await signed())).ok).toBe(false);
    expect(onAccept).not.toHaveBeenCalled();
    expect((await verifierOf('orders:read').verify(await signed())).ok).toBe(true);
    expect(onAccept).toHaveBeenCalledTimes(1);
  });

  it('gives the handler the scopes of the device, which nobody can change', async () => {
    const scopes = ['orders:read', 'reports:*'];
    const { verifier } = requiring(scopes, { require: 'orders:read' });
    const verdict = await verifier.verify(await signed());
    if (!verdict.ok) throw new Error(verdict.code);
    const { caller } = verdict;
    expect(caller.scopes).toEqual(['orders:read', 'reports:*']);
    expect(() => (caller.scopes as string[]).push('*')).toThrow(TypeError);
    scopes.push('*');
    expect(hasScope({ authMesh: caller }, 'orders:write')).toBe(false);
    const none = await verifierAt().verify(await signed());
    expect(none.ok && none.caller.scopes).toEqual([]);
  });
});

describe('a second verify() of one request', () => {
  it('checks its own require, without a second claim', async () => {
    const claim = vi.fn((store: InMemoryNonceStore, ...rest: Parameters<InMemoryNonceStore['claim']>) =>
      store.claim(...rest),
    );
    const memory = new InMemoryNonceStore({ now: () => NOW * 1000, startedAt: NOW - 60 });
    const nonceStore = {
      claim: (...rest: Parameters<InMemoryNonceStore['claim']>) => claim(memory, ...rest),
    };
    const allowList = listWith(['orders:read']);
    const verifier = (require?: string) => verifierAt({ allowList, nonceStore, ...(require && { require }) });
    const first = await verifier().verify(await signed());
    if (!first.ok) throw new Error(first.code);
    expect(await codeOf(verifier('orders:read').verify(first.request))).toBe('accepted');
    expect(await codeOf(verifier('orders:write').verify(first.request))).toBe('scope_missing');
    expect(claim).toHaveBeenCalledTimes(1);
  });

  it('of a Request with a body, too', async () => {
    const signer = await signerOf('controller');
    const url = 'https://api.example.com/orders';
    const request = await signRequest(new Request(url, { method: 'POST', body: 'x' }), signer, {
      created: NOW,
    });
    const nonceStore = new InMemoryNonceStore({ now: () => NOW * 1000, startedAt: NOW - 60 });
    const allowList = listWith(['orders:read']);
    const first = await verifierAt({ allowList, nonceStore }).verify(request);
    if (!first.ok) throw new Error(first.code);
    const again = (require: string) =>
      codeOf(verifierAt({ allowList, nonceStore, require }).verify(first.request));
    expect(await again('orders:write')).toBe('scope_missing');
    expect(await again('orders:read')).toBe('accepted');
  });
});

describe('a body that arrives slowly', () => {
  const upload = async (source: Changing, change: () => void, require = 'orders:read') => {
    const verifier = verifierAt({ allowList: source, require });
    const good = await signed({ method: 'POST', body: text('x') });
    const slow = async () => {
      change();
      return text('x');
    };
    return verifier.verify({ ...good, body: slow });
  };

  it('is refused if the scope was taken away in the meantime', async () => {
    const source = new Changing();
    source.list = listWith(['orders:*']);
    const verdict = await upload(source, () => {
      source.list = listWith(['reports:*']);
    });
    if (verdict.ok) throw new Error('accepted');
    expect(verdict.answer.body).toBe('{"error":"scope_missing","scope":"orders:read"}');
  });

  it('goes to the handler with the scopes that the device has then', async () => {
    const source = new Changing();
    source.list = listWith(['orders:*', 'reports:read']);
    const verdict = await upload(source, () => {
      source.list = listWith(['orders:read']);
    });
    expect(verdict.ok && verdict.caller.scopes).toEqual(['orders:read']);
  });
});

describe('a body that handlers read while it arrives', () => {
  const MORE = { [streamUnverifiedBody]: true as const };

  /** A request whose body comes through a gate, as an adapter has it. */
  async function streamed(): Promise<RequestView> {
    const good = await signed({ method: 'POST', body: text('hello') });
    const raw = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(text('hel'));
        controller.enqueue(text('lo'));
        controller.close();
      },
    });
    return {
      ...good,
      body: async () => text('hello'),
      gateBody: (gate) => gateStream(raw, gate),
      source: good,
    };
  }

  const endOf = async (stream: ReadableStream<Uint8Array> | null | undefined) => {
    try {
      return await new Response(stream).text();
    } catch (error) {
      return isAmeshError(error) ? error.code : error;
    }
  };

  it('does not end if the scope was taken away in the meantime', async () => {
    const source = new Changing();
    source.list = listWith(['orders:read']);
    const refusals: Refusal[] = [];
    const verifier = verifierAt({
      allowList: source,
      require: 'orders:read',
      onRefusal: (refusal) => void refusals.push(refusal),
      ...MORE,
    });
    const verdict = await verifier.verify(await streamed());
    if (!verdict.ok) throw new Error(verdict.code);
    source.list = listWith([]);
    expect(await endOf(verdict.stream)).toBe('scope_missing');
    expect(refusals).toMatchObject([{ code: 'scope_missing', scope: 'orders:read' }]);
  });

  it('does not end if a second verify() requires a scope that was taken away in the meantime', async () => {
    const source = new Changing();
    source.list = listWith(['orders:read']);
    const nonceStore = new InMemoryNonceStore({ now: () => NOW * 1000, startedAt: NOW - 60 });
    const view = await streamed();
    // What an adapter for Node hands on: the transport's own stream, behind the gate.
    let stream: ReadableStream<Uint8Array> | undefined;
    const { gateBody } = view;
    const own: RequestView = {
      ...view,
      async gateBody(gate) {
        stream = (await gateBody?.(gate)) as ReadableStream<Uint8Array>;
        return null;
      },
    };
    const first = await verifierAt({ allowList: source, nonceStore, ...MORE }).verify(own);
    expect(first.ok).toBe(true);
    const second = verifierAt({ allowList: source, nonceStore, require: 'orders:read', ...MORE });
    expect(await codeOf(second.verify(own))).toBe('accepted');
    source.list = listWith([]);
    expect(await endOf(stream)).toBe('scope_missing');
  });
});

describe('hasScope()', () => {
  const caller = (...scopes: string[]) => ({ authMesh: { scopes } });

  it.each<[string[], string, boolean]>([
    [['orders:read'], 'orders:read', true],
    [['orders:read'], 'orders:write', false],
    [['orders:*'], 'orders:write', true],
    [['orders:*'], 'orders', false],
    [['*'], 'orders:write', true],
    [[], 'orders:read', false],
  ])('of %j for %s is %s', (scopes, scope, expected) => {
    expect(hasScope(caller(...scopes), scope)).toBe(expected);
    expect(hasScope({ var: caller(...scopes) }, scope)).toBe(expected);
  });

  it.each<[string, object]>([
    ['an object', {}],
    ['a request of Fastify before its hook', { authMesh: null }],
    ['a context of Hono', { var: {} }],
    ['a caller without scopes', { authMesh: { deviceId } }],
    ['scopes in one text', { authMesh: { scopes: 'orders:read' } }],
    ['a request of Express whose headers name a caller', { get: () => ({ scopes: ['*'] }) }],
  ])('of a request that was not verified is false: %s', (_, request) => {
    expect(hasScope(request as never, 'orders:read')).toBe(false);
  });

  it.each(['*', 'orders:*', '', 'Orders', 'x'.repeat(65), 'orders:read\n'])(
    'for %j, which is not a scope, is false whatever the device has',
    (scope) => {
      expect(hasScope(caller('*', 'orders:*', scope), scope)).toBe(false);
    },
  );

  it.each<[string, unknown, unknown]>([
    ['no request', undefined, 'orders:read'],
    ['null', null, 'orders:read'],
    ['them the wrong way round', 'orders:read', caller('*')],
    ['no scope', caller('*'), undefined],
    ['a list of scopes', caller('*'), ['orders:read']],
  ])('of %s is a TypeError', (_, request, scope) => {
    expect(() => hasScope(request as never, scope as never)).toThrow(TypeError);
  });
});
