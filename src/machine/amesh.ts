import { type Middleware, toMiddleware } from '../adapters/express/middleware';
import { rawBody } from '../adapters/node/raw-body';
import { toAnswer } from '../bootstrap/grants/answer';
import { toAcceptance } from '../bootstrap/provision/acceptance';
import { InMemoryNonceStore } from '../core/nonces/memory';
import type { NonceStore } from '../core/nonces/nonce-store';
import { readVerifyOptions, type VerifyOptions } from '../core/verify/options';
import type { Refusal } from '../core/verify/refusal';
import { createVerifierWith, type Verifier } from '../core/verify/verify';
import { isClusterWorker } from '../process/cluster';
import { readVariable } from '../process/environment';
import { type Env, homeDir } from '../process/home';
import { hostsOf } from '../process/hosts-variable';
import type { Log } from '../process/log';
import { RedisUrlNonceStore } from '../storage/redis/url-nonce-store';
import type { DeviceIdentity } from '../trust/identity';
import { readTrustVariables } from '../trust/owner-key';
import { tellUnsigned } from './answers/tell-unsigned';
import { type Calls, createCalls } from './calls';
import { Delegate, onlyCalls, openDelegate } from './delegate';
import type { Machine } from './machine';
import { hasMovedList } from './moved-list';
import { tellMemoryNonces } from './notices';
import { type AmeshOptions, type AmeshSettings, assertMounted, readAmeshOptions } from './options';
import { OwnMachine } from './own-machine';
import { openPlace } from './place';
import { Reader } from './reader';

/** One identity that signs requests and verifies them. */
export interface Amesh extends Calls {
  /**
   * A middleware for Express 4 and 5, Connect and node:http. It lets a request through only if a device in the allow list
   * signed it. The first request opens the identity.
   *
   * @throws TypeError for a wrong option
   */
  readonly verify: (options?: VerifyOptions) => Middleware;
  /**
   * The verifier behind `verify()`, for adapters of other frameworks. It uses this instance's allow list, hosts, nonce
   * store and log. The first request opens the identity.
   *
   * @throws TypeError for a wrong option
   */
  readonly verifier: (options?: VerifyOptions) => Verifier;
  /** Keeps the raw body for `verify()` if a parser runs first: `express.json({ verify: amesh.rawBody })`. */
  readonly rawBody: typeof rawBody;
  /** This device's public identity. */
  readonly identity: () => Promise<DeviceIdentity>;
  /**
   * Takes the token in AMESH_BOOTSTRAP_TOKEN, unless it was taken before. `verify()` and `fetch` call this when they need
   * it; call it yourself to choose the moment, or to learn the result.
   *
   * @returns whether it took a token now
   * @throws AmeshError `token_…` with the reason, if the machine has no identity without the token
   * @see docs/provisioning.md
   */
  readonly bootstrapIfNeeded: () => Promise<boolean>;
}

/**
 * Creates an instance for one folder. It reads nothing until it needs to, and opens the private key once.
 *
 * @throws TypeError for a wrong option
 */
export function createAmesh(options: AmeshOptions = {}): Amesh {
  const settings = readAmeshOptions(options);
  let opened: Machine | Delegate | undefined;
  const open = () => {
    opened ??= openDelegate(settings) ?? openMachine(settings);
    return opened;
  };
  const machine = () => {
    const found = open();
    if (found instanceof Delegate) throw onlyCalls();
    return found;
  };
  const verifier = verifierFactory(settings, machine);
  return {
    ...createCalls(options, settings, open),
    verify: (verifyOptions) => toMiddleware(verifier(verifyOptions)),
    verifier,
    rawBody,
    identity: async () => (await machine().device()).identity,
    bootstrapIfNeeded: async () => {
      const found = open();
      return found instanceof Delegate ? false : found.bootstrap.take();
    },
  };
}

/** The machine behind an instance. Only this function decides whose key seals the list. */
function openMachine(settings: AmeshSettings): Machine {
  const env = settings.env();
  const variables = readTrustVariables(env);
  const { owners } = variables;
  if (owners === null || hasMovedList(variables, homeDir(settings.dir, env)))
    return new OwnMachine(openPlace(settings, env, { isReader: false }), settings);
  return new Reader(openPlace(settings, env, { isReader: true }), { ...variables, owners }, settings);
}

function verifierFactory(settings: AmeshSettings, machine: () => Machine): Amesh['verifier'] {
  let ownNonces = settings.nonceStore;
  return (options = {}) => {
    assertMounted(options);
    readVerifyOptions(options); // checked here, before onRefusal is wrapped below
    const opened = machine();
    const { log, list, enroller, answerSigner } = opened;
    if (options.enroll && enroller === undefined)
      throw new TypeError(
        'enroll needs the private key that seals the allow list. An instance with AMESH_OWNER_KEY can only read the list: enrol at one that has the folder of the identity.',
      );
    const configured = () => options.hosts ?? settings.hosts ?? hostsOf(settings.env());
    const hosts = options.authority === undefined ? configured() : undefined;
    opened.serve();
    if (options.nonceStore === undefined) ownNonces ??= defaultNonceStore(settings.env(), log);
    const nonceStore = options.nonceStore ?? ownNonces;
    const onRefusal = (refusal: Refusal) => {
      log.refusal(refusal);
      return (options.onRefusal ?? settings.onRefusal)?.(refusal);
    };
    return createVerifierWith(
      {
        ...options,
        allowList: list,
        hosts,
        nonceStore,
        onRefusal,
        answerSigner,
        onSigningFailure: (error) => tellUnsigned(error, log),
      },
      {
        answer: enroller && toAnswer(enroller),
        onAccept: (request) => opened.noteAccepted(toAcceptance(request)),
      },
    );
  };
}

function defaultNonceStore(env: Env, log: Log): NonceStore {
  // An empty variable is an error: if it were ignored, only this process would know the nonces.
  const url = readVariable(env, 'REDIS_URL', 'wrong');
  if (url !== undefined) return new RedisUrlNonceStore(url, log.once);
  if (env.NODE_ENV === 'production' || isClusterWorker()) tellMemoryNonces(log);
  return new InMemoryNonceStore();
}
