import { type ClientRefusal, hasScope, isAmeshError } from '@authmesh/sdk';
import { createTestMesh, type TestCaller } from '@authmesh/sdk/testing';
import { withAmesh } from '@authmesh/sdk/workers';
import { afterEach, describe, expect, it, vi } from 'vitest';

afterEach(() => {
  vi.useRealTimers();
});

/** A mesh with an API that says who calls, behind scopes. */
async function orders(options: Parameters<typeof createTestMesh>[0] = {}) {
  const mesh = await createTestMesh(options);
  const app = withAmesh(
    (request) => Response.json({ ...request.authMesh, mayRead: hasScope(request, 'orders:read') }),
    { amesh: mesh.amesh, require: 'orders:list' },
  );
  return { mesh, app };
}
const statusOf = async ({ fetch }: Pick<TestCaller, 'fetch'>) => (await fetch('/')).status;

describe('a caller', () => {
  it('is the same device wherever it calls', async () => {
    const { mesh, app } = await orders();
    const laptop = await mesh.addCaller({ name: 'laptop', scopes: ['orders:*'] });
    const response = await laptop.to(app).fetch('/');
    expect(await response.json()).toMatchObject({
      deviceId: laptop.deviceId,
      friendlyName: 'laptop',
      scopes: ['orders:*'],
      mayRead: true,
    });
    laptop.revoke();
    expect(await statusOf(laptop.to(app))).toBe(401);
  });

  it('may end', async () => {
    const { mesh, app } = await orders();
    const expiresAt = new Date(mesh.clock.now() + 60_000);
    const laptop = await mesh.asCaller(app, { scopes: ['*'], expiresAt });
    expect(await statusOf(laptop)).toBe(200);
    mesh.clock.advance(61_000);
    expect(await statusOf(laptop)).toBe(401);
    expect(mesh.refusals.at(-1)?.code).toBe('device_expired');
  });

  it('keeps what a wildcard covers until that is denied', async () => {
    const { mesh, app } = await orders();
    const laptop = await mesh.asCaller(app, { scopes: ['orders:*'] });
    expect(() => laptop.deny('orders:list')).toThrow('It would still have orders:list, by a wildcard');
    expect(await statusOf(laptop)).toBe(200);
    laptop.deny('orders:*');
    expect(await statusOf(laptop)).toBe(403);
    expect(() => laptop.allow('no scope')).toThrow(TypeError);
    expect(() => laptop.deny('Orders')).toThrow(TypeError);
  });

  it('lends a delegate a part of its scopes, until that ends', async () => {
    const { mesh, app } = await orders();
    const laptop = await mesh.asCaller(app, { scopes: ['orders:list', 'orders:read'] });
    const job = await laptop.delegate({ name: 'report', scopes: ['orders:list'], lifetimeSeconds: 600 });
    const response = await job.fetch('/');
    expect(await response.json()).toMatchObject({
      deviceId: laptop.deviceId,
      delegate: { name: 'report', id: job.id },
      mayRead: false,
    });
    const other = await laptop.delegate({ name: 'other', scopes: ['orders:list'] });
    job.end();
    expect([await statusOf(job), await statusOf(other.to(app)), await statusOf(laptop)]).toEqual([
      401, 200, 200,
    ]);
    mesh.clock.advance(3_600_000);
    await expect(other.fetch('/')).rejects.toSatisfy(
      (error) => isAmeshError(error) && error.code === 'delegation_ended',
    );
    await expect(laptop.delegate({ name: 'no spaces', scopes: ['a'] })).rejects.toThrow(TypeError);
  });

  it('keeps its delegates revoked when it is restored, and new ones count after 5 minutes', async () => {
    const { mesh, app } = await orders();
    mesh.clock.set(new Date('2030-01-01T00:00:00Z'));
    const laptop = await mesh.asCaller(app, { scopes: ['orders:list'] });
    const job = { name: 'report', scopes: ['orders:list'] };
    const before = await laptop.delegate(job);
    laptop.restore(); // changes nothing while it is not revoked
    expect(await statusOf(before)).toBe(200);
    laptop.revoke();
    laptop.allow('orders:read');
    mesh.clock.advance(60_000);
    laptop.revoke();
    laptop.restore();
    expect([await statusOf(laptop), await statusOf(before)]).toEqual([200, 401]);
    expect(mesh.refusals.at(-1)?.detail).toContain('or it was paired again, at 2030-01-01T00:00');
    expect(await statusOf(await laptop.delegate(job))).toBe(401);
    mesh.clock.advance(239_000);
    expect(await statusOf(await laptop.delegate(job))).toBe(401);
    mesh.clock.advance(1000);
    const after = await laptop.delegate(job);
    expect([await statusOf(after), await statusOf(before)]).toEqual([200, 401]);
  });

  it('is unknown to any other mesh, which has other keys', async () => {
    const { app } = await orders();
    const other = await createTestMesh();
    const laptop = await other.asCaller(app, { scopes: ['*'] });
    expect(await statusOf(laptop)).toBe(421); // it names the other machine
  });

  it('learns why it is refused', async () => {
    const { mesh, app } = await orders();
    const heard: ClientRefusal[] = [];
    const laptop = await mesh.asCaller(app, { onRefusal: (refusal) => heard.push(refusal) });
    await laptop.fetch('/');
    expect(heard).toMatchObject([{ code: 'scope_missing', scope: 'orders:list', status: 403 }]);
  });

  it('has a name and a key of its own', async () => {
    const { mesh, app } = await orders();
    const some = await mesh.asCaller(app, { name: 'laptop', scopes: ['*'] });
    const other = await mesh.asCaller(app, { name: 'laptop', scopes: ['*'] });
    some.revoke();
    expect([await statusOf(some), await statusOf(other)]).toEqual([401, 200]);
  });

  it.each([
    ['an unknown option', { scope: ['a'] }],
    ['a wrong scope', { scopes: ['Orders'] }],
    ['an end that is not a Date', { expiresAt: 5 }],
    ['an empty name', { name: '' }],
    ['an onRefusal that is not a function', { onRefusal: 'log' }],
  ])('is not added with %s', async (_what, options) => {
    const mesh = await createTestMesh();
    await expect(mesh.addCaller(options as never)).rejects.toThrow(TypeError);
  });
});

describe('the machine', () => {
  it('accepts only the host of its URL', async () => {
    const { mesh, app } = await orders({ url: 'https://orders.internal:8443' });
    const laptop = await mesh.addCaller({ scopes: ['*'] });
    expect(await statusOf(laptop.to(app))).toBe(200);
    const { headers } = await laptop.sign({ url: 'https://other.internal/' });
    const response = await app(
      new Request('https://other.internal/', { headers: Object.fromEntries(headers) }),
    );
    expect([response.status, mesh.refusals.at(-1)?.code]).toEqual([421, 'wrong_host']);
  });

  it('has an identity, accepts no token, and lets an app ask for enrolment', async () => {
    const { amesh } = await createTestMesh({ name: 'orders-api' });
    expect(await amesh.identity()).toMatchObject({
      friendlyName: 'orders-api',
      deviceId: expect.stringMatching(/^am_/),
    });
    expect(await amesh.bootstrapIfNeeded()).toBe(false);
    expect(() => amesh.verify({ enroll: true, require: 'x' })).not.toThrow();
    expect(() => amesh.verify({ requires: 'x' } as never)).toThrow(TypeError);
    expect(() => amesh.verify({ socket: {} } as never)).toThrow('Call it when you mount it');
  });

  it('refuses an enrolment, since nobody has a grant here', async () => {
    const mesh = await createTestMesh();
    const app = withAmesh(() => new Response('in'), { amesh: mesh.amesh, enroll: true });
    const response = await mesh
      .asStranger(app)
      .fetch('/.well-known/amesh/enroll', { method: 'POST', body: '{}' });
    expect(response.status).toBe(401);
  });

  it('tells onRefusal of the app, too, and keeps the newest 1,000', async () => {
    const mesh = await createTestMesh();
    const heard: string[] = [];
    const app = withAmesh(() => new Response(), {
      amesh: mesh.amesh,
      onRefusal: ({ request }) => heard.push(request.target),
    });
    const stranger = mesh.asStranger(app);
    for (let i = 0; i < 1002; i++) await stranger.fetch(`/${i}`);
    expect(heard).toHaveLength(1002);
    expect(mesh.refusals).toHaveLength(1000);
    expect(mesh.refusals.at(-1)?.request.target).toBe('/1001');
    expect(mesh.refusals[0]?.request.target).toBe('/2');
  });

  it('calls the machine of another mesh, which trusts it', async () => {
    const { mesh: billing, app } = await orders({ url: 'https://billing.internal' });
    const { fetch } = billing.asStranger(app);
    const { amesh } = await createTestMesh({ name: 'orders-api', fetch: fetch as typeof globalThis.fetch });
    expect((await amesh.fetch('https://billing.internal/')).status).toBe(401);
    await billing.trust(amesh, { scopes: ['orders:list'] });
    const response = await amesh.fetch('https://billing.internal/');
    expect(await response.json()).toMatchObject({ friendlyName: 'orders-api' });
    const { url, headers } = await amesh.sign({ url: 'https://billing.internal/' });
    expect((await fetch(url, { headers: Object.fromEntries(headers) })).status).toBe(200);
  });

  it.each([
    { url: 'localhost' },
    { url: 'https://localhost/api' },
    { url: 'ftp://localhost' },
    { url: 'https://a:b@localhost' },
    { url: 'https://localhost?x' },
    { name: '' },
    { fetch: 'fetch' },
    { answers: 'always' },
    { hosts: ['a'] },
  ])('is not made with %j', async (options) => {
    await expect(createTestMesh(options as never)).rejects.toThrow(TypeError);
  });
});

describe('the clock', () => {
  it('follows fake timers, to any day and back', async () => {
    const { mesh, app } = await orders();
    const laptop = await mesh.asCaller(app, { scopes: ['*'] });
    for (const day of ['2001-01-01', '2040-01-01', '2001-01-01', '2020-02-29', '2040-01-01', '2001-01-01']) {
      vi.useFakeTimers({ now: new Date(day) });
      expect(new Date(mesh.clock.now()).toISOString()).toBe(`${day}T00:00:00.000Z`);
      const response = await laptop.fetch('/');
      expect(await response.json()).toMatchObject({ verifiedAt: Date.parse(day) / 1000 });
      vi.useRealTimers();
    }
    expect(await statusOf(laptop)).toBe(200);
  });

  it('is set to a moment, and continues from there', async () => {
    const { clock } = await createTestMesh();
    vi.useFakeTimers();
    clock.set(new Date('2030-05-05T12:00:00Z'));
    vi.advanceTimersByTime(1500);
    clock.advance(500);
    expect(clock.now()).toBe(Date.parse('2030-05-05T12:00:02Z'));
    clock.advance(-2000);
    expect(clock.now()).toBe(Date.parse('2030-05-05T12:00:00Z'));
    expect(() => clock.advance(Number.NaN)).toThrow(TypeError);
    expect(() => clock.set(new Date('no date'))).toThrow(TypeError);
  });
});
