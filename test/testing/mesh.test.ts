import { createTestMesh, type TestMesh } from '@authmesh/sdk/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { apps } from './apps';

let mesh: TestMesh;
beforeEach(async () => {
  mesh = await createTestMesh();
});
const reasons = () => mesh.refusals.map(({ code }) => code);
const body = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"item":"tea"}' };

describe.each(Object.entries(apps))('%s', (_name, create) => {
  it('hears who calls, and what', async () => {
    const laptop = await mesh.asCaller(await create(mesh.amesh), { name: 'laptop' });
    const got = await laptop.fetch('/orders');
    expect([got.status, await got.json()]).toEqual([200, { from: 'laptop' }]);
    const posted = await laptop.fetch('/orders', body);
    expect([posted.status, await posted.json()]).toEqual([201, { got: { item: 'tea' } }]);
    expect(reasons()).toEqual([]);
  });

  it('refuses what nobody signed, and what somebody else changed', async () => {
    const app = await create(mesh.amesh);
    const stranger = mesh.asStranger(app);
    expect((await stranger.fetch('/orders')).status).toBe(401);
    const laptop = await mesh.addCaller();
    const { url, method, headers } = await laptop.sign({ url: '/orders', ...body });
    const changed = { method, headers: Object.fromEntries(headers), body: '{"item":"gin"}' };
    expect((await stranger.fetch(url, changed)).status).toBe(401);
    expect(reasons()).toEqual(['missing_header', 'content_digest_mismatch']);
  });

  it('refuses a request that is repeated', async () => {
    const app = await create(mesh.amesh);
    const stranger = mesh.asStranger(app);
    const { url, headers } = await (await mesh.addCaller()).sign({ url: '/orders' });
    const again = () => stranger.fetch(url, { headers: Object.fromEntries(headers) });
    expect([(await again()).status, (await again()).status]).toEqual([200, 401]);
    expect(reasons()).toEqual(['replay_detected']);
  });

  it('refuses a request that comes late', async () => {
    const stranger = mesh.asStranger(await create(mesh.amesh));
    const { url, headers } = await (await mesh.addCaller()).sign({ url: '/orders' });
    mesh.clock.advance(31_000);
    expect((await stranger.fetch(url, { headers: Object.fromEntries(headers) })).status).toBe(401);
    expect(reasons()).toEqual(['timestamp_out_of_range']);
    const next = await (await mesh.asCaller(await create(mesh.amesh))).fetch('/orders');
    expect(next.status).toBe(200);
  });

  it('uses the current scopes and the current list', async () => {
    const laptop = await mesh.asCaller(await create(mesh.amesh), { scopes: ['orders:read'] });
    const status = async () => (await laptop.fetch('/admin')).status;
    expect(await status()).toBe(403);
    laptop.allow('admin');
    expect(laptop.scopes).toEqual(['admin', 'orders:read']);
    expect(await status()).toBe(200);
    laptop.deny('admin');
    expect(await status()).toBe(403);
    laptop.revoke();
    laptop.allow('admin'); // changes nothing while it is revoked
    expect((await laptop.fetch('/orders')).status).toBe(401);
    expect(reasons().at(-1)).toBe('unknown_device');
    laptop.restore();
    expect(await status()).toBe(200);
  });
});
