import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAmesh } from '@authmesh/sdk';
import { createIdentity, issueGrant, openDevice, revokeGrant } from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { RedisNonceStore } from '@authmesh/sdk/redis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Child, type Script, toScript } from '../support/child';
import { documentOf } from '../support/list-document';
import { opened } from '../support/nonce-store';
import { describeWithRedis, type RedisServer, startRedis } from '../support/redis';
import { otherwiseForMs } from '../support/waiting';

const HOST = 'api.example.com';

describeWithRedis('four instances with one list in Redis', () => {
  let root: string;
  let redis: RedisServer;
  let script: Script;
  let ports: number[];
  const instances: Child[] = [];
  let env: Record<string, string>;
  const targetDir = () => join(root, 'target');
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    redis = await startRedis();
    env = { AMESH_STORE_URL: redis.url };
    script = await toScript('test/bootstrap/processes/enrolling.ts');
    await createIdentity(targetDir(), env, { friendlyName: 'api', hosts: [HOST] });
    for (let number = 0; number < 4; number++) {
      instances.push(script.start([], { env: { ...env, REDIS_URL: redis.url, AUTH_MESH_DIR: targetDir() } }));
    }
    ports = await Promise.all(instances.map(async (instance) => Number(await instance.line('port '))));
    // What is signed before a new Redis is counted on is refused. The instances agree about that to a second.
    const store = await opened(new RedisNonceStore({ url: redis.url, timeoutMs: 10_000 }));
    await store.close();
    await sleep(1100);
  });
  afterAll(async () => {
    for (const instance of instances) instance.kill('SIGKILL');
    await Promise.all(instances.map((instance) => instance.ended));
    script.remove();
    await redis.stop();
    await rm(root, { recursive: true, maxRetries: 20 });
  });

  /** Takes turns at the instances, as a load balancer does. */
  let turn = 0;
  const balanced = (input: unknown, init: RequestInit = {}) =>
    new Promise<Response>((resolve, reject) => {
      const url = new URL(String(input));
      const headers = { ...Object.fromEntries(new Headers(init.headers)), host: url.host };
      const sent = request(
        {
          host: '127.0.0.1',
          port: ports[turn++ % 4],
          path: url.pathname + url.search,
          method: init.method ?? 'GET',
          headers,
        },
        async (response) => {
          const lines = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
          const status = response.statusCode ?? 0;
          // As bytes: with a text a Response gets a content type of its own.
          resolve(
            new Response(Buffer.from(await text(response)), { status, headers: Object.fromEntries(lines) }),
          );
        },
      );
      sent.on('error', reject);
      sent.end(init.body as string | undefined);
    });

  let count = 0;
  const newCaller = (token: string) =>
    createAmesh({
      dir: join(root, `caller-${count++}`),
      env: { AMESH_BOOTSTRAP_TOKEN: token },
      fetch: balanced as typeof fetch,
    });
  const target = () => openDevice(targetDir(), env);
  const grant = async (uses: number) =>
    issueGrant(await target(), {
      names: 'worker-*',
      uses,
      leaseSeconds: 3600,
      maxLeaseSeconds: 86_400,
      hosts: [HOST],
    });
  const codeOf = (error: unknown) => (isAmeshError(error) ? error.code : String(error));

  it('50 uses and 80 callers at once: exactly 50 enrol, and can call every instance', async () => {
    const { token, grant: given } = await grant(50);
    const callers = Array.from({ length: 80 }, () => newCaller(token));
    const results = await Promise.all(
      callers.map(async (caller) => {
        for (;;) {
          const result = await caller.fetch(`http://${HOST}/`).then(({ status }) => status, codeOf);
          // On a machine that is busy with other things Redis may answer too late, which is a 503 and no verdict.
          if (result !== 'enrolment_failed' && result !== 503) return result;
        }
      }),
    );
    expect(results.filter((result) => result === 200)).toHaveLength(50);
    expect(results.filter((result) => result === 'grant_used_up')).toHaveLength(30);
    const { devices, grants } = await documentOf((await target()).trust);
    expect(devices.filter(({ lease }) => lease?.grant === given.id)).toHaveLength(50);
    expect(grants).toMatchObject([{ used: 50 }]);

    const [first] = callers.filter((_, index) => results[index] === 200);
    for (let each = 0; each < 4; each++) expect((await first?.fetch(`http://${HOST}/`))?.status).toBe(200);
    await (await target()).trust.update((list) => revokeGrant(list, given.id, Math.floor(Date.now() / 1000)));
    const areRefused = async () => {
      // A target proves no refusal to a device that it does not trust any more.
      const claims = [0, 1, 2, 3].map(() =>
        first?.fetch(`http://${HOST}/`).catch((error: { claims?: unknown }) => error.claims),
      );
      return (await Promise.all(claims)).every((claimed) => claimed === 'unauthorized');
    };
    const pids = instances.map(({ pid }) => pid);
    expect(await otherwiseForMs(areRefused, pids)).toBeLessThan(1000);
  });

  it('a Redis that restarts empty does not begin to count again', async () => {
    const { token } = await grant(1);
    expect((await newCaller(token).fetch(`http://${HOST}/`)).status).toBe(200);
    await redis.restart();
    const late = await newCaller(token)
      .fetch(`http://${HOST}/`)
      .then(({ status }) => status, codeOf);
    expect(['enrolment_failed', 'grant_used_up']).toContain(late);
    await expect((await target()).trust.read()).rejects.toMatchObject({
      code: 'allow_list_integrity_failure',
    });
  });
});
