import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createIdentity, type DeviceIdentity } from '@authmesh/sdk/admin';
import { createVerifier, type Verifier } from '@authmesh/sdk/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBuilt } from '../support/built';
import { times } from '../support/full';
import { type Recorded, type Recorder, startRecorder } from '../support/recorder';
import { findRuntime, type Runtime } from '../support/runtimes';
import { digestOf } from '../support/verdict';

const SCRIPT = new URL('script.mjs', import.meta.url).pathname;
/** Of runs that differ in the key alone. */
const ONE_CASE = times(['a string'], []);
const runtimes = await Promise.all((['node', 'bun', 'deno'] as const).map(findRuntime));

/** What a runtime's script said, and what arrived, by case. */
interface Run {
  readonly results: Readonly<Record<string, Record<string, unknown>>>;
  readonly requests: ReadonlyMap<string, readonly Recorded[]>;
  readonly verdicts: ReadonlyMap<Recorded, string>;
  readonly stderr: string;
}

let root: string;
let recorder: Recorder;
let verdicts: Map<Recorded, string>;
const devices: { dir: string; env: Record<string, string>; identity: DeviceIdentity }[] = [];

beforeAll(async () => {
  await ensureBuilt();
  root = await mkdtemp(join(tmpdir(), 'amesh-runtimes-'));
  for (const env of [{}, { AUTH_MESH_PASSPHRASE: 'a passphrase of a human' }] as Record<string, string>[]) {
    const dir = join(root, String(devices.length));
    devices.push({ dir, env, identity: await createIdentity(dir, env, { friendlyName: 'controller' }) });
  }
  recorder = await startRecorder();
  recorder.answer = answerBy(
    verifierOf(() => Date.now()),
    verifierOf(() => Date.now() - 60_000),
  );
}, 180_000);
afterAll(async () => {
  await recorder.close();
  await rm(root, { recursive: true, maxRetries: 20 });
});

function verifierOf(now: () => number): Verifier {
  return createVerifier({
    allowList: {
      hosts: [recorder.authority],
      devices: devices.map(({ identity }, i) => ({
        ...identity,
        friendlyName: `${i}`,
        roles: ['controller'],
      })),
    },
    maxBodyBytes: 100_000,
    now,
  });
}

/** Verifies, writes down the verdict, and then does what the path says. */
function answerBy(verifier: Verifier, behind: Verifier): Recorder['answer'] {
  return async (request, response) => {
    const verdict = await (request.target === '/clock' ? behind : verifier).verify(request);
    verdicts.set(request, verdict.kind === 'refused' ? verdict.code : verdict.kind);
    const to = /^\/redirect\?to=(.*)$/.exec(request.target)?.[1];
    if (request.target.startsWith('/refused')) response.writeHead(421).end();
    else if (!verdict.ok)
      response.writeHead(verdict.answer.status, verdict.answer.headers).end(verdict.answer.body);
    else if (to !== undefined) response.writeHead(302, { location: to }).end();
    else response.end('ok');
  };
}

/** @param only the case to run; default: all */
async function runScript(
  runtime: Runtime,
  device: (typeof devices)[number],
  ...only: string[]
): Promise<Run> {
  recorder.requests.length = 0;
  verdicts = new Map();
  const env = { ...device.env, AUTH_MESH_DIR: device.dir, HOME: root, NO_COLOR: '1', DEBUG: 'amesh' };
  const { stdout, stderr } = await runtime.run(SCRIPT, [recorder.origin, ...only], env);
  const requests = new Map<string, Recorded[]>();
  for (const request of recorder.requests) {
    const name = decodeURIComponent(request.header('x-case') ?? '');
    if (name === '') continue;
    requests.set(name, [...(requests.get(name) ?? []), request]);
  }
  return { results: JSON.parse(stdout), requests, verdicts, stderr };
}

const boundaryOf = (request: Recorded) =>
  /boundary=(.+)$/.exec(request.header('content-type') ?? '')?.[1] ?? '\0';

/** What has to be the same on every runtime: all of a request's content, but for the boundary of a form. */
function contentOf(request: Recorded) {
  const isForm = boundaryOf(request) !== '\0';
  return {
    method: request.method,
    target: request.target,
    authority: request.authority,
    contentType: request.header('content-type')?.replace(boundaryOf(request), 'B'),
    contentDigest: isForm ? 'of its own' : request.header('content-digest'),
    body: request.body.toString('latin1').replaceAll(boundaryOf(request), 'B'),
  };
}

/** The run of Node, which is run once and compared with all others. */
let baseline: Run | undefined;

describe.each(runtimes)('$name $version', (runtime) => {
  const missing = runtime.version === null;
  if (missing) console.warn(`${runtime.name} is not installed: its tests are skipped.`);

  if (missing && process.env.CI)
    it('is here', () => expect.fail(`${runtime.name} is a development package and has to run in CI.`));

  describe.skipIf(missing)('sends', () => {
    let run: Run;
    let node: Run;
    beforeAll(async () => {
      const device = devices[0] as (typeof devices)[number];
      baseline ??= await runScript(runtimes[0] as Runtime, device);
      node = baseline;
      run = runtime.name === 'node' ? node : await runScript(runtime, device);
    });

    it('the same content as Node, case by case', () => {
      expect([...run.requests.keys()]).toEqual([...node.requests.keys()]);
      expect(run.requests.size).toBeGreaterThan(40);
      for (const [name, requests] of run.requests) {
        const same = (node.requests.get(name) ?? []).map(contentOf);
        expect(requests.map(contentOf), name).toEqual(same);
      }
    });

    it('only what is accepted, unless the server wants another time', () => {
      for (const [name, requests] of run.requests) {
        const seen = requests.map((request) => run.verdicts.get(request));
        const late = name.startsWith('a clock that is ') ? ['timestamp_out_of_range'] : [];
        const hops = /^a redirect /.test(name) ? ['accepted'] : [];
        expect(seen, name).toEqual([...late, ...hops, 'accepted']);
      }
    });

    it('the digest of the bytes that arrive, and none without bytes', () => {
      for (const [name, requests] of run.requests) {
        for (const request of requests) {
          const { length } = request.body;
          expect(request.header('content-digest')).toBe(length === 0 ? undefined : digestOf(request.body));
          if (!name.startsWith('with a digest of its own'))
            expect(request.header('transfer-encoding'), name).toBeUndefined();
        }
      }
    });

    it('and gets the same results as Node', () => {
      for (const [name, result] of Object.entries(run.results)) {
        const { message, ...rest } = result;
        const { message: _same, ...expected } = node.results[name] ?? {};
        expect(rest, name).toEqual(expected);
        if (message !== undefined) expect(String(message), name).not.toMatch(/secret|Bearer/);
      }
      expect(run.results).toMatchObject({
        'a string': { status: 200, text: 'ok' },
        'a redirect in the origin': { status: 200, redirected: true, target: '/next' },
        'redirect: manual': { status: 302, location: '/next' },
        'a clock that is 60 s ahead': { status: 200 },
        'a stream beyond the limit': { error: 'payload_too_large' },
        'a stream that is aborted': { error: expect.anything() },
        'a Request that was read': { error: 'TypeError' },
        'a URL with a password': { error: 'TypeError' },
      });
    });

    it('and says on stderr why a server refuses, if DEBUG asks for it', () => {
      expect(run.stderr).toContain(
        `amesh: 421 wrong_host from ${recorder.origin}/refused: The server accepts no requests for this host. On the target, run: amesh config hosts --add ${recorder.authority}`,
      );
      expect(run.stderr).not.toContain('secret');
    });

    it('with a key that the passphrase of a person opens', async () => {
      const { results } = await runScript(runtime, devices[1] as (typeof devices)[number], ...ONE_CASE);
      expect(results['a string']).toEqual({ status: 200, text: 'ok' });
    });

    it('nothing without the passphrase, and says which variable to set', async () => {
      const device = devices[1] as (typeof devices)[number];
      const { results, requests } = await runScript(runtime, { ...device, env: {} }, ...ONE_CASE);
      expect(results['a string']).toMatchObject({
        error: 'passphrase_required',
        message: expect.stringContaining('Set AUTH_MESH_PASSPHRASE'),
      });
      expect(requests.size).toBe(0);
    });

    it('nothing without an identity, and says what to run', async () => {
      const device = { ...(devices[0] as (typeof devices)[number]), dir: join(root, 'nobody') };
      const { results, requests } = await runScript(runtime, device, ...ONE_CASE);
      expect(results['a string']).toMatchObject({
        error: 'no_identity',
        message: expect.stringContaining('Run: amesh init'),
      });
      expect(requests.size).toBe(0);
    });
  });
});
