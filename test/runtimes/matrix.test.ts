import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, type DeviceIdentity } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ContractServer, ServerKind } from '../contract/contract';
import { kindsHere } from '../contract/kinds';
import { CONTROL, type Setting } from '../contract/subject';
import { ensureBuilt } from '../support/built';
import { requireRuntime, serverRuntimes } from '../support/runtime-server';

const SCRIPT = new URL('callers.mjs', import.meta.url).pathname;
const callers = await Promise.all((['node', 'bun', 'deno'] as const).map(requireRuntime));
const servers: readonly ServerKind[] = kindsHere.filter(({ runtime }) => serverRuntimes.includes(runtime));
const installed = new Map<string, boolean>();
for (const { runtime } of servers) installed.set(runtime, (await requireRuntime(runtime)) !== null);

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => (i * 31) % 256);
const text = '{"grüße":"€ 𝄞"}';
const form = new URLSearchParams({ a: '1 & 2', ä: '€' }).toString();
const expected: Record<string, { method: string; sha256: string }> = {
  'a GET': { method: 'GET', sha256: sha256('') },
  'a DELETE': { method: 'DELETE', sha256: sha256('') },
  'a text': { method: 'POST', sha256: sha256(text) },
  'a binary PUT': { method: 'PUT', sha256: sha256(bytes) },
  'a Blob': { method: 'POST', sha256: sha256(bytes) },
  'a stream': { method: 'POST', sha256: sha256(bytes) },
  'a form': { method: 'POST', sha256: sha256(form) },
  'a bearer token beside it': { method: 'POST', sha256: sha256(text) },
};

let dir: string;
let identity: DeviceIdentity;
const running = new Map<string, ContractServer>();

beforeAll(async () => {
  await ensureBuilt();
  dir = await mkdtemp(join(tmpdir(), 'amesh-matrix-'));
  identity = await createIdentity(dir, {}, { friendlyName: 'caller' });
  const { deviceId, publicKey } = identity;
  for (const kind of servers) {
    if (!installed.get(kind.runtime)) continue;
    const server = await kind.start();
    running.set(kind.name, server);
    const setting: Setting = {
      hosts: [`127.0.0.1:${server.port}`],
      devices: [{ deviceId, publicKey }],
    };
    const url = `http://127.0.0.1:${server.port}${CONTROL}`;
    await fetch(url, { method: 'POST', body: JSON.stringify(setting) });
  }
}, 180_000);
afterAll(async () => {
  await Promise.all([...running.values()].map((server) => server.close()));
  await rm(dir, { recursive: true, maxRetries: 20 });
});

describe.each(callers.filter((caller) => caller !== null))('amesh.fetch of $name $version', (caller) => {
  let results: Record<string, Record<string, unknown>>;

  beforeAll(async () => {
    const origins = [...running.values()].map(({ port }) => `http://127.0.0.1:${port}`);
    const env = { AUTH_MESH_DIR: dir, HOME: dir, NO_COLOR: '1' };
    results = JSON.parse((await caller.run(SCRIPT, origins, env)).stdout);
  });

  it.each(servers)('calls $name', ({ name, runtime }) => {
    if (!installed.get(runtime)) return; // said above, and in CI thrown
    const seen = results[`http://127.0.0.1:${running.get(name)?.port}`];
    const { 'a HEAD': head, ...rest } = seen ?? {};
    expect(head).toEqual({ status: 200 });
    const target = "/a%2Fb//c/it's%5E|%7B%22%7D%60?x=1&&y=%20&n=O%27Brien%22%3C^|{}`%3E";
    const by = identity.deviceId;
    expect(rest).toEqual(
      Object.fromEntries(
        Object.entries(expected).map(([call, want]) => [call, { status: 200, ...want, target, by }]),
      ),
    );
  });
});
