import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import {
  addDevice,
  createIdentity,
  type DeviceIdentity,
  type Env,
  issueDelegation,
  issueGrant,
  openDevice,
} from '@authmesh/sdk/admin';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { readStatement } from '../../src/core/statements/read-statement';
import { callsOf } from '../support/calls-of';
import { type Listening, listen } from '../support/listen';
import { type SlowTpm, slowTpm } from '../support/slow-tpm';
import { describeWithTpm, type Swtpm, startSwtpm } from '../support/swtpm';

/** What a request carried. */
interface Seen {
  readonly url: string;
  readonly key: string | undefined;
}

describeWithTpm('A program whose key is in a TPM', () => {
  let root: string;
  let tpm: Swtpm;
  let slow: SlowTpm;
  let env: Env;
  let target: Listening;
  const seen: Seen[] = [];
  const dir = () => join(root, 'caller');

  beforeAll(async () => {
    tpm = await startSwtpm();
    slow = await slowTpm(tpm.port);
    env = { AMESH_TPM: slow.address };
  });
  afterAll(async () => {
    await slow?.close();
    await tpm?.remove();
  });

  let identity: DeviceIdentity;
  let logged: ReturnType<typeof vi.spyOn>;
  beforeEach(async () => {
    logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
    slow.delayMs = 0;
    root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    identity = await createIdentity(dir(), env, { friendlyName: 'caller', backend: 'tpm2' });
    await createIdentity(join(root, 'target'), {}, { friendlyName: 'target' });
    await (await openDevice(join(root, 'target'), {})).trust.update((list) =>
      addDevice(list, { ...identity, role: 'controller', hosts: [] }, 0),
    );
    const verify = createAmesh({ dir: join(root, 'target'), env: {} }).verify({
      enroll: true,
      delegates: true,
    });
    target = await listen((req, res) => {
      seen.push({ url: req.url ?? '', key: req.headers['authmesh-key'] as string | undefined });
      verify(req, res, () => void res.end('passed'));
    });
    seen.length = 0;
    slow.signatures = 0;
  });
  afterEach(async () => {
    vi.useRealTimers();
    await target?.close();
    logged.mockRestore();
    await rm(root, { recursive: true, maxRetries: 20 });
  });

  const lines = () => callsOf(logged).map(([line]: unknown[]) => String(line));

  it('signs 500 requests with one signature of a TPM that takes 200 ms for each command', async () => {
    const amesh = createAmesh({ dir: dir(), env });
    slow.delayMs = 200;
    const responses = await Promise.all(Array.from({ length: 500 }, () => amesh.fetch(target.origin)));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
    expect(slow.signatures).toBe(1);
    const [statement, ...others] = new Set(seen.map(({ key }) => key));
    expect(others).toEqual([]);
    expect(readStatement(statement ?? '', 'request')).toMatchObject({ deviceId: identity.deviceId });
  });

  it('does not use the TPM before it signs a request', async () => {
    const amesh = createAmesh({ dir: dir(), env });
    await amesh.identity();
    amesh.verify();
    expect(slow.signatures).toBe(0);
  });

  it('shares one working key among all instances of a process', async () => {
    const [first, second] = [
      createAmesh({ dir: dir(), env }),
      createAmesh({ dir: dir(), env, format: 'rfc9421' }),
    ];
    const responses = await Promise.all(
      [first, second].flatMap((amesh) => [amesh.fetch(target.origin), amesh.fetch(target.origin)]),
    );
    expect(responses.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(slow.signatures).toBe(1);
  });

  it('signs answers with an answer key, which takes one signature of the TPM', async () => {
    const { answers } = await openDevice(dir(), env);
    const [first, second] = await Promise.all([answers(), (await openDevice(dir(), env)).answers()]);
    expect(readStatement(first.statement ?? '', 'answer')).toMatchObject({ deviceId: identity.deviceId });
    expect(second).toBe(first);
    expect(slow.signatures).toBe(1);
  });

  it('continues while the TPM is gone, until the working key ends, and then says why it stops', async () => {
    const server = await listen((_, response) => void response.end()); // whose clock does not matter
    const start = Date.now();
    vi.useFakeTimers({ toFake: ['Date'], now: start });
    const amesh = createAmesh({ dir: dir(), env });
    await amesh.fetch(server.origin);
    await tpm.stop();
    vi.setSystemTime(start + 90 * 60_000);
    expect((await amesh.fetch(server.origin)).status).toBe(200);
    await vi.waitFor(
      () =>
        expect(lines()).toContainEqual(
          expect.stringMatching(
            /^amesh: The working key of this process could not be renewed: .* It still signs requests until \d.*; after that they fail\.$/,
          ),
        ),
      { timeout: 20_000 },
    );
    vi.setSystemTime(start + 121 * 60_000);
    const failed = await amesh.fetch(server.origin).catch((error) => error);
    await tpm.restart();
    expect(failed).toMatchObject({ code: 'key_backend_unavailable' });
    expect((await amesh.fetch(server.origin)).status).toBe(200);
    await server.close();
  });

  it('lends a part of its power with one signature of the TPM, and the delegate needs no TPM', async () => {
    const { text } = await issueDelegation((await openDevice(dir(), env)).signer, {
      name: 'job',
      scopes: ['orders:read'],
      targets: [(await openDevice(join(root, 'target'), {})).identity.deviceId],
      lifetimeSeconds: 600,
    });
    expect(slow.signatures).toBe(1);
    const job = createAmesh({ env: { AMESH_DELEGATION: text } });
    for (let i = 0; i < 3; i++) expect((await job.fetch(target.origin)).status).toBe(200);
    expect(slow.signatures).toBe(1);
  });

  it('enrols with the key of the device itself, and then calls with a working key', async () => {
    const caller = join(root, 'newcomer');
    await createIdentity(caller, env, { friendlyName: 'worker-1', backend: 'tpm2' });
    const { token } = await issueGrant(await openDevice(join(root, 'target'), {}), {
      names: 'worker-*',
      uses: 1,
      leaseSeconds: 3600,
      maxLeaseSeconds: 3600,
    });
    const amesh = createAmesh({ dir: caller, env: { ...env, AMESH_BOOTSTRAP_TOKEN: token } });
    expect((await amesh.fetch(`${target.origin}/orders`)).status).toBe(200);
    const [enrolment, ...requests] = seen;
    expect(enrolment).toEqual({ url: '/.well-known/amesh/enroll', key: undefined });
    expect(requests.length).toBeGreaterThan(0);
    for (const { key } of requests) expect(key).toMatch(/^eyJ/);
  });
});

describe('A program whose key is in a file', () => {
  it('signs its requests with that key', async () => {
    const root = await mkdtemp(join(tmpdir(), 'amesh-test-'));
    await createIdentity(root, {}, { friendlyName: 'caller' });
    expect((await openDevice(root, {})).signer.requestSigner).toBeUndefined();
    await rm(root, { recursive: true, maxRetries: 20 });
  });
});
