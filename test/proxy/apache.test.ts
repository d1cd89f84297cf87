import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Refusal } from '@authmesh/sdk/core';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Apache, hasApache, startApache } from '../support/apache';
import { type Listening, listen } from '../support/listen';
import { createMachines, type Machines } from '../support/machines';
import { RawClient } from '../support/raw-http';
import { signedRaw } from '../support/signed-raw';

const HOST = 'api.example.com';

/** The configuration of docs/production.md. */
function documented(): string {
  const page = readFileSync(join(import.meta.dirname, '../../docs/production.md'), 'utf8');
  return /```apache [^\n]*\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
}

/** What people write, and what that page says. */
function sitesFor(port: number) {
  const to = `http://127.0.0.1:${port}/`;
  return {
    usual: `ProxyPreserveHost On\nProxyPass / ${to}`,
    decoding: `ProxyPreserveHost On\nAllowEncodedSlashes On\nProxyPass / ${to}`,
    cutting: `ProxyPreserveHost On\nProxyPass /api/ ${to} nocanon`,
    renaming: `AllowEncodedSlashes NoDecode\nMergeSlashes Off\nProxyPass / ${to} nocanon`,
    both: `ProxyPass / ${to}`,
    right: documented().replace('http://10.0.0.11:3000/', to),
  };
}

describe.skipIf(!hasApache)('a server behind Apache', () => {
  let machines: Machines;
  let server: Listening;
  let named: Listening;
  let apache: Apache<keyof ReturnType<typeof sitesFor>>;
  let id: string;
  beforeAll(async () => {
    machines = await createMachines();
    const verify = machines.targetWith({ hosts: [HOST] }).verify();
    server = await listen((req, res) => void verify(req, res, () => void res.end()));
    // Without hosts: what names its device id passes with any.
    const own = machines.targetWith({}).verify();
    named = await listen((req, res) => void own(req, res, () => void res.end()));
    id = (await machines.target.identity()).deviceId;
    const { renaming, both } = sitesFor(named.port);
    apache = await startApache({ ...sitesFor(server.port), renaming, both });
  });
  beforeEach(() => void machines.refusals.splice(0));
  afterAll(async () => {
    await apache?.stop();
    await Promise.all([server?.close(), named?.close()]);
    await machines?.remove();
  });

  async function call(site: keyof ReturnType<typeof sitesFor>, target: string): Promise<number> {
    const signed = await signedRaw(machines.signer, HOST, { target }, { targetDeviceId: id });
    const client = await RawClient.connect(apache.portOf(site));
    client.write(`${[signed.line, ...signed.headers].join('\r\n')}\r\n\r\n`);
    const { status, body } = await client.response();
    client.destroy();
    if (status === 401) expect(String(body)).toBe('{"error":"unauthorized"}'); // the caller learns nothing of it
    return status;
  }

  it.each([
    ['usual', '/orders/%7Euser', 'path /orders/%7Euser', 'nocanon'],
    ['usual', '/orders/a%40b', 'path /orders/a%40b', 'nocanon'],
    ['usual', '/orders/a|b', 'path /orders/a|b', 'nocanon'],
    ['decoding', '/orders/a%2Fb', 'path /orders/a%2Fb', 'AllowEncodedSlashes NoDecode'],
    ['decoding', '/orders/x%40y%2Fz', 'path /orders/x%40y%2Fz', 'AllowEncodedSlashes NoDecode'],
    ['usual', '/a//b', 'path /a//b', 'MergeSlashes Off'],
    ['usual', '//a//b', 'path //a//b', 'MergeSlashes Off'],
    ['cutting', '/api/orders', 'path /api/orders', "verify({ pathPrefix: '/api' })"],
    [
      'renaming',
      '/orders',
      `host ${HOST}`,
      `ProxyPreserveHost On; nginx: proxy_set_header Host $http_host), or use verify({ authority: '${HOST}' })`,
    ],
    ['both', '/a%3Ab', `host ${HOST}. The signature is valid for the path /a%3Ab`, 'nocanon'],
  ] as const)('configured as %s: %s', async (site, target, message, fix) => {
    expect(await call(site, target)).toBe(401);
    const [found] = machines.refusals as [Refusal];
    expect(found.code).toBe('invalid_signature');
    expect(found.detail).toContain(`The signature is valid for the ${message}.`);
    expect(found.fix).toContain(fix);
  });

  it.each(['/a%2Fb%7E', '/a//b', '/x|y%40'])(
    'configured as it is documented, it passes %s',
    async (target) => {
      expect(await call('right', target)).toBe(200);
    },
  );

  it('responds to a slash that is escaped by itself, unless it is told not to', async () => {
    expect(await call('usual', '/a%2Fb')).toBe(404);
    expect(machines.refusals).toEqual([]);
  });
});
