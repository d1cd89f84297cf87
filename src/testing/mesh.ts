import { cryptoProvider } from '#crypto';
import { toMiddleware } from '../adapters/express/middleware';
import { rawBody } from '../adapters/node/raw-body';
import { type Answers, readAnswers } from '../core/answers/asking';
import type { AnswerSigner } from '../core/answers/sign-answer';
import { generateSigner } from '../core/crypto/generate-signer';
import { deviceIdOf } from '../core/devices/allow-list';
import { toBase64Url } from '../core/encoding';
import { assertOptionNames } from '../core/options';
import { readVerifyOptions } from '../core/verify/options';
import type { Refusal } from '../core/verify/refusal';
import { createVerifierWith } from '../core/verify/verify';
import { normalizeAuthority } from '../core/wire/authority';
import { isRequest } from '../core/wire/view';
import type { Amesh } from '../machine/amesh';
import { assertMounted } from '../machine/options';
import { type TestApp, toAppFetch } from './app/app';
import { addCaller, type CallerOptions, type TestCaller, trustMachine } from './caller';
import { createClock, type TestClock } from './clock';
import { DeviceList } from './device-list';
import type { MeshParts } from './mesh-parts';
import { TestNonces } from './nonces';
import { createSender, fetchOf } from './sender';

/** How to create a test mesh. Every option is optional; a wrong one is a TypeError. */
export interface TestMeshOptions {
  /**
   * Where the machine under test is called: `http://` or `https://`, a host, and a port if it is not the default. Callers resolve
   * paths against it. If the host is not localhost, the machine accepts only requests for that host. Default `https://localhost`,
   * where the machine accepts requests for any host if they name the machine.
   */
  readonly url?: string | undefined;
  /** The name of the machine under test; default `target`. */
  readonly name?: string | undefined;
  /** The `fetch` that sends the requests of {@link TestMesh.amesh} and its callers, except to an app in memory; default the global one. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Which responses callers require to be proven; default `auto`, as in production. */
  readonly answers?: Answers | undefined;
}

/** A machine in memory, and its callers. Nothing is read from or written to files, the network or the environment. */
export interface TestMesh {
  /**
   * The instance of the machine under test: what `createAmesh()` returns in production. Pass it to `verify()` and the adapters.
   * Every check is real. Its `sign` signs for any host, since the machine has no targets here.
   */
  readonly amesh: Amesh;
  /** The clock of the machine and of its callers. */
  readonly clock: TestClock;
  /** Where the machine is called, such as `https://localhost`. */
  readonly url: string;
  /** The last refusals of the machine, as `onRefusal` gets them: at most 1,000, the newest last. */
  readonly refusals: readonly Refusal[];
  /**
   * Adds a device that may call the machine.
   *
   * @throws TypeError for a wrong option
   */
  addCaller(options?: CallerOptions): Promise<TestCaller>;
  /**
   * Adds a device that may call the machine, and has it call an app in memory: `(await mesh.asCaller(app)).fetch('/orders')`.
   *
   * @throws TypeError for a wrong option, and for an app of another kind
   */
  asCaller(app: TestApp, options?: CallerOptions): Promise<TestCaller>;
  /**
   * Adds the machine of another mesh, so that its `amesh.fetch` may call this one.
   *
   * @throws TypeError for a wrong option
   */
  trust(other: Pick<Amesh, 'identity'>, options?: CallerOptions): Promise<void>;
  /**
   * Somebody without a key, who calls an app in memory. Their `fetch` signs nothing, and sends what it is given.
   *
   * @throws TypeError for an app of another kind
   */
  asStranger(app: TestApp): Stranger;
}

/** Somebody who signs nothing. */
export interface Stranger {
  /** Sends a request to the app as it is. Somebody else may have signed it. Does not follow redirects. */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
}

const NAMES: ReadonlySet<string> = new Set<keyof TestMeshOptions>(['url', 'name', 'fetch', 'answers']);
const MAX_REFUSALS = 1000;

/**
 * Creates a machine in memory, for tests of servers behind `verify()` and of their clients. Pass its `amesh` to your app instead of
 * the `amesh` of `@authmesh/sdk`.
 *
 * @throws TypeError for a wrong option
 * @see docs/testing.md
 */
export async function createTestMesh(options: TestMeshOptions = {}): Promise<TestMesh> {
  const { name, fetch, answers, origin, authority } = readOptions(options);
  const clock = createClock();
  const { signer } = await generateSigner(cryptoProvider);
  const { publicKey } = signer;
  const deviceId = await deviceIdOf(publicKey, cryptoProvider);
  const list = new DeviceList(deviceId, origin.hostname === 'localhost' ? [] : [authority]);
  const parts: MeshParts = { url: origin.origin, clock, list, fetch, answers, publicKey };
  const refusals: Refusal[] = [];
  const note = (refusal: Refusal) => {
    if (refusals.push(refusal) > MAX_REFUSALS) refusals.shift();
  };
  const verifier = verifierFactory(parts, { deviceId, sign: (message) => signer.sign(message) }, note);
  const identity = {
    deviceId,
    publicKey: toBase64Url(publicKey),
    friendlyName: name,
    createdAt: Math.floor(clock.now() / 1000),
    key: { backend: 'memory', ref: name },
  };
  return {
    amesh: {
      ...createSender({ ...parts, answers: 'auto' }, signer, { app: null, callsMachine: false }),
      verify: (verifyOptions) => toMiddleware(verifier(verifyOptions)),
      verifier,
      rawBody,
      identity: async () => identity,
      bootstrapIfNeeded: async () => false,
    },
    clock,
    url: origin.origin,
    refusals,
    addCaller: (given) => addCaller(parts, given),
    async asCaller(app, given) {
      toAppFetch(app); // first, so that a wrong app adds nobody
      return (await addCaller(parts, given)).to(app);
    },
    async trust(other, given = {}) {
      const theirs = await other.identity();
      trustMachine(parts, theirs, { name: theirs.friendlyName, ...given });
    },
    asStranger: (app) => toStranger(fetchOf(toAppFetch(app), origin.origin), origin),
  };
}

function verifierFactory(
  { list, clock }: MeshParts,
  answerSigner: AnswerSigner,
  note: (refusal: Refusal) => void,
): Amesh['verifier'] {
  const nonces = new TestNonces();
  return (options = {}) => {
    assertMounted(options);
    const { onRefusal } = readVerifyOptions(options); // checked here, before onRefusal is wrapped
    return createVerifierWith(
      {
        ...options,
        allowList: list,
        nonceStore: options.nonceStore ?? nonces,
        onRefusal: (refusal) => {
          note(refusal);
          return onRefusal?.(refusal);
        },
        answerSigner,
        now: clock.now,
      },
      { answer: () => null }, // an app may set `enroll`, but nobody has a grant here
    );
  };
}

function toStranger(send: typeof globalThis.fetch, origin: URL): Stranger {
  return {
    async fetch(input, init) {
      const request = new Request(isRequest(input) ? input : new URL(input, origin), init);
      const { url, method, headers, signal } = request;
      const body = request.body === null ? null : new Uint8Array(await request.arrayBuffer());
      return send(url, { method, headers, signal, body });
    },
  };
}

function readOptions(options: TestMeshOptions) {
  assertOptionNames('createTestMesh()', options, NAMES);
  const { name = 'target', fetch, answers = 'auto', url = 'https://localhost' } = options;
  if (typeof name !== 'string' || name === '') throw new TypeError('name must be a text.');
  if (fetch !== undefined && typeof fetch !== 'function') throw new TypeError('fetch must be a function.');
  return { name, fetch, answers: readAnswers(answers), ...readOrigin(url) };
}

/** @throws TypeError for a text that is not an origin */
function readOrigin(url: string): { origin: URL; authority: string } {
  const origin = URL.canParse(url) ? new URL(url) : undefined;
  const isRoot = origin?.href === `${origin?.origin}/` && /^https?:$/.test(origin.protocol);
  const authority = isRoot ? normalizeAuthority(origin.host) : null;
  if (origin === undefined || authority === null)
    throw new TypeError('url must be http:// or https:// and a host, such as https://orders.internal.');
  return { origin, authority };
}
