import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, type Device, issueGrant, openDevice, setHosts } from '@authmesh/sdk/admin';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENROLMENT_PATH, forgeEnrolment } from '../support/enrolling';
import { times } from '../support/full';
import { documentOf } from '../support/list-document';
import { exchange, head, RawClient } from '../support/raw-http';
import { requireRuntime } from '../support/runtime-server';
import { type AppName, NOTHING } from './everywhere/apps';
import { KINDS, type Kind, LIKE_OTHERS } from './everywhere/kinds';

for (const kind of times(KINDS, [...KINDS, ...LIKE_OTHERS])) {
  const runtime = await requireRuntime(kind.runtime);
  describe.skipIf(runtime === null)(`enrolments at ${kind.name}`, () => enrolmentsAt(kind));
}

function enrolmentsAt(kind: Kind): void {
  let root: string;
  let target: Device;
  let server: Awaited<ReturnType<Kind['start']>>;
  let authority: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    const dir = join(root, 'target');
    await createIdentity(dir, {}, { friendlyName: 'api' });
    target = await openDevice(dir, {});
    server = await kind.start(dir);
    authority = `127.0.0.1:${server.port}`;
    // A handler that gets a Request alone does not know its port.
    if (kind.needsHosts) await target.trust.update((list) => setHosts(list, [authority]));
  });
  afterAll(async () => {
    await server?.close();
    await rm(root, { recursive: true, maxRetries: 10 });
  });

  const grant = async () =>
    issueGrant(target, { names: 'worker-*', uses: 9, leaseSeconds: 3600, maxLeaseSeconds: 3600 });

  /** A machine with nothing but a token, which calls one of the applications. */
  let count = 0;
  const callerOf = (app: AppName, token: string) =>
    createAmesh({
      dir: join(root, `caller-${count++}`),
      env: { AMESH_BOOTSTRAP_TOKEN: token },
      fetch: (input, init) => {
        const headers = new Headers(init?.headers);
        headers.set('x-app', app);
        return fetch(input as string, { ...init, headers });
      },
    });

  const lines = (app: AppName, ...more: string[]) => [`Host: ${authority}`, `X-App: ${app}`, ...more];
  async function send(app: AppName, body: string, method = 'POST') {
    const length = `Content-Length: ${Buffer.byteLength(body)}`;
    return exchange(
      server.port,
      head(`${method} ${ENROLMENT_PATH} HTTP/1.1`, lines(app, 'Content-Type: text/plain', length)),
      body,
    );
  }

  it.each(['whole', 'path', 'nested'] as const)('are taken by the application "%s"', async (app) => {
    const { token, grant: given } = await grant();
    const caller = callerOf(app, token);
    const response = await caller.fetch(`http://${authority}/api`);
    const { deviceId } = await caller.identity();
    const { devices } = await documentOf(target.trust);
    const entry = devices.find((device) => device.deviceId === deviceId);
    expect(entry).toMatchObject({ roles: ['controller'], lease: { grant: given.id } });
    expect([response.status, await response.text()]).toEqual([200, `passed ${entry?.friendlyName}`]);
  });

  it.each(['whole', 'path', 'nested'] as const)('count once, by the application "%s"', async (app) => {
    const { token, grant: given } = await grant();
    const body = await forgeEnrolment(token, authority);
    const first = await send(app, body);
    expect([first.status, first.headers['cache-control'], first.headers['content-type']]).toEqual([
      200,
      'no-store',
      'application/json',
    ]);
    expect(JSON.parse(first.body)).toEqual({
      deviceId: expect.stringMatching(/^am_/),
      friendlyName: expect.stringMatching(/^worker-1/),
      expiresAt: expect.any(Number),
    });
    const before = await documentOf(target.trust);
    const again = await send(app, body);
    expect([again.status, again.body]).toEqual([401, '{"error":"unauthorized"}']);
    expect(again.headers['www-authenticate']).toBe('AuthMesh error="unauthorized"');
    expect(await documentOf(target.trust)).toEqual(before);
    expect(before.grants.find(({ id }) => id === given.id)?.used).toBe(1);
  });

  it.each<[string, number, string, string]>([
    ['that are not enrolments', 400, 'enrolment_malformed', 'hello'],
    ['of no bytes', 400, 'enrolment_malformed', ''],
    ['in JSON', 400, 'enrolment_malformed', '{"grant":1}'],
    ['of 5 kB', 413, 'payload_too_large', 'a'.repeat(5000)],
  ])('%s are refused', async (_what, status, error, body) => {
    const { status: answered, body: text } = await send('whole', body);
    expect([answered, text]).toEqual([status, JSON.stringify({ error })]);
  });

  it('of 5 kB in chunks are refused', async () => {
    const line = `POST ${ENROLMENT_PATH} HTTP/1.1`;
    const chunk = `9c4\r\n${'a'.repeat(2500)}\r\n`;
    const { status } = await exchange(
      server.port,
      head(line, lines('whole', 'Transfer-Encoding: chunked')),
      chunk,
      chunk,
      '0\r\n\r\n',
    );
    expect(status).toBe(413);
  });

  it('that announce 100 MB are refused before they have arrived', async () => {
    const client = await RawClient.connect(server.port);
    const more = ['Content-Length: 100000000'];
    client.write(head(`POST ${ENROLMENT_PATH} HTTP/1.1`, lines('whole', ...more)), 'a'.repeat(5000));
    expect((await client.response()).status).toBe(413);
    client.destroy();
  });

  it.each(['GET', 'PUT', 'DELETE', 'OPTIONS'])('by %s are requests without a signature', async (method) => {
    const { token } = await grant();
    const before = await documentOf(target.trust);
    const { status } = await send('whole', await forgeEnrolment(token, authority), method);
    expect(status).toBe(401);
    expect(await documentOf(target.trust)).toEqual(before);
  });

  it('are requests without a signature if enroll is off', async () => {
    const { token } = await grant();
    const { status, body } = await send('off', await forgeEnrolment(token, authority));
    expect([status, body]).toEqual([401, '{"error":"unauthorized"}']);
    await expect(callerOf('off', token).fetch(`http://${authority}/api`)).rejects.toMatchObject({
      code: 'answer_unproven',
      claims: 'enrolment_refused',
    });
  });

  it('are for the application if verify() does not see them', async () => {
    const { token } = await grant();
    const { status, body } = await send('none', await forgeEnrolment(token, authority));
    expect([status, body]).toEqual([404, NOTHING]);
    await expect(callerOf('none', token).fetch(`http://${authority}/api`)).rejects.toMatchObject({
      code: 'enrolment_failed',
    });
  });
}
