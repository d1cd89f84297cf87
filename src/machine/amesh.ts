import { type Middleware, toMiddleware } from '../adapters/express/middleware';
import { rawBody } from '../adapters/node/raw-body';
import { Bootstrap } from '../bootstrap/bootstrap';
import { createEnroller } from '../bootstrap/grants/enroller';
import { isLeaseDue, Leases } from '../bootstrap/grants/leases';
import { untilKnown } from '../bootstrap/grants/until-known';
import { createRegistrar } from '../bootstrap/provision/registrar';
import { takeAnswer } from '../bootstrap/provision/take-answer';
import type { AllowList, TrustedDevice } from '../core/devices/allow-list';
import { AmeshError, isAmeshError } from '../core/errors/amesh-error';
import { InMemoryNonceStore } from '../core/nonces/memory';
import type { NonceStore } from '../core/nonces/nonce-store';
import { assertOptionNames, isWithin } from '../core/options';
import { type ClientOptions, createPreparer } from '../core/sign/client';
import { type ClientRejection, refusalOf } from '../core/sign/refusal';
import { readVerifyOptions, type VerifyOptions } from '../core/verify/options';
import type { Rejection } from '../core/verify/rejection';
import { createVerifier, type Verifier } from '../core/verify/verify';
import { parseHosts } from '../core/wire/authority';
import { assertPassphraseVariables } from '../keys/passphrase';
import { confirmTarget } from '../pairing/confirm';
import { assertPath, readVariable } from '../process/environment';
import { type Env, homeDir } from '../process/home';
import { hostsOf } from '../process/hosts-variable';
import { onceListening } from '../process/listening';
import { createLog, type Log } from '../process/log';
import { unusedProxy } from '../proxy/unused-proxy';
import { FileStore } from '../storage/files/file-store';
import { RedisUrlNonceStore } from '../storage/redis/url-nonce-store';
import { assertStorage, toDocumentStore, type UnstorageLike } from '../storage/unstorage/document-store';
import { assertSameIdentity, type Device, openTrust, trustStamp } from '../trust/device';
import { inspectFolder } from '../trust/folder-safety';
import { type DeviceIdentity, IDENTITY_KEY } from '../trust/identity';
import { LiveList } from '../trust/list/live-list';
import { toLoader } from '../trust/list/load-shared';
import { SharedList } from '../trust/list/shared-list';
import { toAllowList } from '../trust/list/to-allow-list';
import type { TrustStore } from '../trust/list/trust-store';
import { readOwnerKey, toOwnerKey } from '../trust/owner-key';
import { sharedStoreOf } from '../trust/shared-store';
import { Sightings } from '../trust/sightings';
import { openDevice } from './open-device';
import { createIdentity } from './setup';

/** Where an instance has its identity, its list and its nonces. Every option may be left out; a wrong one is a TypeError. */
export interface AmeshOptions {
  /** The folder of the identity; default AUTH_MESH_DIR, then ~/.amesh. */
  readonly dir?: string | undefined;
  /** The authorities that this server answers to; default AMESH_HOSTS, then the sealed list. */
  readonly hosts?: readonly string[] | undefined;
  /** Default: one for all `verify()` of this instance, in the Redis of REDIS_URL where that is set, or in memory. */
  readonly nonceStore?: NonceStore | undefined;
  /** A storage of unstorage that holds the allow list for several instances; default AMESH_STORE_URL, then `dir`. */
  readonly storage?: UnstorageLike | undefined;
  /** How long the list of a shared store counts when that cannot be read. Seconds, 1 to 86,400; default 60. */
  readonly maxStaleSeconds?: number | undefined;
  /** How often a shared store is read, beside what it tells by itself. Seconds, 0.05 to 60; default 1. */
  readonly pollSeconds?: number | undefined;
  /** How `fetch` sends signatures; default `authmesh`. */
  readonly format?: ClientOptions['format'];
  /** The most bytes of a streaming body that `fetch` buffers; default 10,485,760 (10 MiB). */
  readonly maxBodyBytes?: number | undefined;
  /** The `fetch` that sends; default the global one. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Told of each request that this server refuses, and of each that another refuses to us. */
  readonly onReject?: ((rejection: Rejection | ClientRejection) => void) | undefined;
  /** The environment; default `process.env`, read when it is needed. */
  readonly env?: Env | undefined;
}

/** An instance may be started before its identity is there. */
const WATCH_AGAIN_MS = 1000;

const NAMES: ReadonlySet<string> = new Set<keyof AmeshOptions>([
  'dir',
  'hosts',
  'nonceStore',
  'storage',
  'maxStaleSeconds',
  'pollSeconds',
  'format',
  'maxBodyBytes',
  'fetch',
  'onReject',
  'env',
]);

/** One identity at work: it signs requests and verifies them. */
export interface Amesh {
  /**
   * `fetch`, signing with this machine's key. Works without an instance in front of it.
   *
   * @throws AmeshError `no_identity`, `redirect_refused`, `clock_skew_too_large`, `payload_too_large`,
   *   `allow_list_integrity_failure`; whatever `fetch` throws
   */
  readonly fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
  /**
   * A middleware for Express 4 and 5, Connect and node:http that lets through what a device of the allow list has
   * signed. Opens the identity at the first request.
   *
   * @throws TypeError for a wrong option
   */
  readonly verify: (options?: VerifyOptions) => Middleware;
  /**
   * What `verify()` stands on, for the adapters of other frameworks: a verifier with this instance's allow list, hosts,
   * nonce store and log. Opens the identity at the first request.
   *
   * @throws TypeError for a wrong option
   */
  readonly verifier: (options?: VerifyOptions) => Verifier;
  /** For a parser before `verify()`: `express.json({ verify: amesh.rawBody })`. */
  readonly rawBody: typeof rawBody;
  /** This device's own public facts. */
  readonly identity: () => Promise<DeviceIdentity>;
  /**
   * Takes the token of AMESH_BOOTSTRAP_TOKEN, where there is one that was not taken yet. `verify()` and `fetch` do so
   * by themselves; this is for those who want to know when, and whether.
   *
   * @returns whether one was taken now
   * @throws AmeshError `token_…`, saying what is wrong with it, where the machine has no identity without it
   * @see docs/provisioning.md
   */
  readonly bootstrapIfNeeded: () => Promise<boolean>;
}

/**
 * An instance for one folder. Nothing is read before it is needed, and the private key is opened once.
 *
 * @throws TypeError for a wrong option
 */
export function createAmesh(options: AmeshOptions = {}): Amesh {
  assertOptionNames('createAmesh()', options, NAMES);
  readSharing(options);
  if (options.storage !== undefined) assertStorage(options.storage);
  const { nonceStore, onReject, dir } = options;
  readVerifyOptions({ nonceStore, onReject });
  if (dir !== undefined && (typeof dir !== 'string' || dir === ''))
    throw new TypeError('dir is the path of a folder.');
  if (dir !== undefined) assertPath('dir', dir);
  if (options.env !== undefined && (typeof options.env !== 'object' || options.env === null))
    throw new TypeError('env is an object of variables.');
  const hosts = options.hosts === undefined ? undefined : parseHosts(options.hosts);
  const env = () => options.env ?? process.env;
  let parts: ReturnType<typeof assemble> | undefined;
  const assembled = () => {
    parts ??= assemble(options, env());
    return parts;
  };
  let prepare: ReturnType<typeof createPreparer> | undefined;
  let ownNonces: NonceStore | undefined = nonceStore;

  const toPreparer = () =>
    createPreparer({
      signer: async () => (await assembled().device()).signer,
      targetOf: async (authority) => {
        const { bootstrap, list } = assembled();
        return bootstrap.held?.targetOf(authority) ?? (await list.current()).targetOf(authority)?.deviceId;
      },
      format: options.format,
      fetch: options.fetch,
      maxBodyBytes: options.maxBodyBytes,
      onReject: (rejection) => {
        assembled().log.clientRejection(rejection);
        return onReject?.(rejection); // a promise of theirs is looked after by the caller
      },
    });
  toPreparer(); // a wrong option is a TypeError here and not at the first request

  const toVerifier = (verifyOptions: VerifyOptions = {}): Verifier => {
    // Mounted as `amesh.verify`, without its parentheses, it is called with the request itself.
    if ('socket' in verifyOptions) {
      throw new TypeError('verify() was given a request. Mount it with its parentheses: amesh.verify().');
    }
    readVerifyOptions(verifyOptions); // as they were given: onReject is wrapped below
    const { log, list, store, bootstrap, needsIdentity, serve, enroller, noteLease, registrar, sightings } =
      assembled();
    const answersTo = hosts ?? hostsOf(env());
    const isPending = bootstrap.isPending;
    if (verifyOptions.enroll && enroller === undefined)
      throw new TypeError(
        'enroll needs the private key that seals the allow list. With AMESH_OWNER_KEY an instance can only read it: enrol at one that has the folder of the identity.',
      );
    serve();
    if (needsIdentity && !isPending && store.stamp(IDENTITY_KEY) === 'absent') {
      const isEmpty = env().AMESH_BOOTSTRAP_TOKEN?.trim() === '';
      log.once(
        `There is no identity in ${store.dir}${isEmpty ? ', and AMESH_BOOTSTRAP_TOKEN is empty' : ''}. Run: amesh init --name NAME. Until then every signed request gets 503.`,
      );
    }
    if (verifyOptions.nonceStore === undefined) ownNonces ??= defaultNonceStore(env(), log);
    return createVerifier({
      ...verifyOptions,
      hosts: verifyOptions.hosts ?? answersTo,
      nonceStore: verifyOptions.nonceStore ?? ownNonces,
      onReject: (rejection) => {
        log.rejection(rejection);
        return (verifyOptions.onReject ?? onReject)?.(rejection);
      },
      allowList: list,
      enroller,
      onAccept: (acceptance) => {
        sightings.note(acceptance.device.deviceId);
        noteLease(acceptance.device, acceptance.list);
        return registrar?.(acceptance);
      },
    });
  };

  return {
    async fetch(input, init) {
      prepare ??= toPreparer();
      const request = await prepare(input, init); // before anything else: the caller may change what it gave
      const { list, device, bootstrap, log } = assembled();
      let response: Response;
      try {
        const isNew = bootstrap.isPending && (await bootstrap.asCaller(request.url));
        response = await untilKnown(request, { isNew, grant: bootstrap.held, tell: log.once });
      } catch (error) {
        const why = options.fetch === undefined ? unusedProxy(request.url, error, process.env) : null;
        if (why !== null) log.once(why);
        throw error;
      }
      await bootstrap.held?.confirm(response);
      const unused = refusalOf(response) === 'unauthorized' ? bootstrap.grantElsewhere : undefined;
      if (unused !== undefined) log.once(unused);
      await confirmTarget(response, list, device);
      await takeAnswer(response, device, log.once);
      return response;
    },

    verify: (verifyOptions) => toMiddleware(toVerifier(verifyOptions)),

    verifier: toVerifier,

    rawBody,

    identity: async () => (await assembled().device()).identity,

    bootstrapIfNeeded: () => assembled().bootstrap.take(),
  };
}

function defaultNonceStore(env: Env, log: Log): NonceStore {
  // With an empty one nonces would be remembered in this process alone.
  const url = readVariable(env, 'REDIS_URL', 'wrong');
  if (url !== undefined) return new RedisUrlNonceStore(url, log.once);
  if (env.NODE_ENV === 'production') {
    log.once(
      'Using in-memory nonce store. It is exact for one process; with several behind one address a request can be replayed to another. Set REDIS_URL, see docs/production.md.',
    );
  }
  return new InMemoryNonceStore();
}

/** Once, and at the start: whoever starts a server looks at its log then. */
function tellOfFolder(dir: string, env: Env, isReader: boolean, log: Log): void {
  for (const { kind, message, fix } of inspectFolder(dir, env)) {
    // The list of a reader is sealed by somebody else, and the folder only remembers how new it was.
    if (isReader && kind === 'open') continue;
    const until =
      isReader || kind === 'open'
        ? ''
        : ' Until then this machine refuses every signed request and signs none.';
    log.once(`${message} ${fix}${/[.!]$/.test(fix) ? '' : '.'}${until}`);
  }
}

const CANNOT_RENEW =
  'A lease of a grant is about to end, and this instance has no key to move it on (AMESH_OWNER_KEY). It ends unless its caller also calls an instance that has the folder of the identity. See docs/provisioning.md.';

/** Whoever followed the usual advice would have a second target beside the one that is verified for. */
function keyless(dir: string): AmeshError {
  return new AmeshError(
    'no_identity',
    `There is no private key in ${dir}: with AMESH_OWNER_KEY alone this instance verifies, and calls nobody.`,
    { fix: 'To call others, give it the folder of an identity (AUTH_MESH_DIR). See docs/production.md.' },
  );
}

/** What helps where there are files and the command: a server that was started with another folder is another device. */
function withFix(rejection: Rejection, folder: string): Rejection {
  if (rejection.code === 'device_expired') {
    const fix =
      'Pair it again: amesh listen here, and amesh invite on the caller. Or give it the token of a new grant: amesh grant';
    return { ...rejection, fix };
  }
  if (rejection.code !== 'wrong_target') return rejection;
  return {
    ...rejection,
    fix: `${rejection.fix} This server runs from ${folder}: started with another AUTH_MESH_DIR, it is another device.`,
  };
}

function assemble(options: AmeshOptions, env: Env) {
  const dir = homeDir(options.dir, env);
  const store = new FileStore(dir);
  const shared = options.storage === undefined ? sharedStoreOf(env) : toDocumentStore(options.storage);
  const ownerKey = readOwnerKey(env);
  assertPassphraseVariables(env); // a wrong variable is a TypeError here, and not at the first request
  let opening: Promise<Device> | undefined;
  let isFolderTold = false;
  const tellFolder = () => {
    if (!isFolderTold) tellOfFolder(dir, env, ownerKey !== null, log);
    isFolderTold = true;
  };
  const device = () => {
    if (opening === undefined) tellFolder();
    opening ??= openDevice(dir, env, shared).catch((error) => {
      opening = undefined; // `amesh init` may come later
      if (ownerKey !== null && isAmeshError(error) && error.code === 'no_identity') throw keyless(dir);
      throw error;
    });
    return opening;
  };
  const isFromVariable = options.dir === undefined && Boolean(env.AUTH_MESH_DIR);
  const folder = `${isFromVariable ? 'AUTH_MESH_DIR' : 'folder'} ${dir}`;
  // Whoever has the owner's public key only has a folder in which nobody can pair anything.
  const home = ownerKey === null ? folder : 'where the identity is';
  const isByUrl = shared !== null && options.storage === undefined;
  const printed = createLog(env, isByUrl ? `${home}, with the same AMESH_STORE_URL` : home);
  const log: Log = { ...printed, rejection: (rejection) => printed.rejection(withFix(rejection, folder)) };
  const open = () =>
    device().catch((error) => {
      if (isAmeshError(error) && error.code === 'no_identity') return null;
      throw error;
    });
  const create = async (friendlyName: string) => {
    await createIdentity(dir, env, { friendlyName }, shared).catch((error) => {
      if (!isAmeshError(error) || error.code !== 'identity_exists') throw error; // another process was faster
    });
    return device();
  };
  const send: typeof globalThis.fetch = (input, init) => (options.fetch ?? globalThis.fetch)(input, init);
  const bootstrap = new Bootstrap({
    env,
    isReader: ownerKey !== null,
    open,
    create,
    tell: log.once,
    fetch: send,
  });
  let isServing = false;
  const takeToken = () =>
    bootstrap.asTarget().catch((error) => {
      const why = `${isAmeshError(error) ? `, ${error.code}` : ''}: ${error.message.replace(/\.$/, '')}.`;
      const until = ownerKey === null ? ' Until then every signed request gets 503.' : '';
      log.once(`AMESH_BOOTSTRAP_TOKEN was not taken${why}${until}`);
    });
  const serve = () => {
    if (isServing) return;
    isServing = true;
    tellFolder();
    // At the start of the server and not at the first request: that is when somebody looks at the log. But not before:
    // builds load the modules of a server too, and a token can be taken once.
    if (bootstrap.isPending) onceListening(takeToken);
    // Nor does the first request have to wait for a list that lies far away. What fails will be told to it.
    else if (shared !== null) void (async () => list.current())().catch(() => {});
  };
  const trust = async () => {
    if (ownerKey === null) {
      if (isServing) await bootstrap.asTarget();
      const opened = await device();
      await assertSameIdentity(opened);
      return opened.trust;
    }
    owned ??= toOwnerKey(ownerKey).then((owner) => openTrust(store, owner, owner.deviceId, shared));
    return owned;
  };
  let owned: Promise<TrustStore> | undefined;
  const watchList = (changed: () => void): void => {
    trust().then(
      (opened) => opened.watch(changed),
      () => void setTimeout(watchList, WATCH_AGAIN_MS, changed).unref(), // reading will say why
    );
  };
  const list =
    shared === null
      ? new LiveList(
          async () => toAllowList(await (await trust()).read()),
          () => trustStamp(store),
        )
      : new SharedList({
          ...readSharing(options),
          load: toLoader(trust),
          watch: watchList,
        });
  const needsIdentity = ownerKey === null;
  const leases = new Leases(device);
  // Whoever has the owner's public key only cannot write the list.
  const writing = needsIdentity
    ? {
        enroller: createEnroller({ device, list }),
        noteLease: leases.note.bind(leases),
        registrar: createRegistrar({ bootstrap, device, list }),
      }
    : {
        enroller: undefined,
        noteLease(caller: TrustedDevice, known: AllowList) {
          if (isLeaseDue(caller, known)) log.once(CANNOT_RENEW);
        },
        registrar: undefined,
      };
  const sightings = new Sightings({ trust, list });
  return { bootstrap, device, list, log, needsIdentity, serve, sightings, store, ...writing };
}

function readSharing({ maxStaleSeconds = 60, pollSeconds = 1 }: AmeshOptions) {
  if (!isWithin(maxStaleSeconds, 1, 86_400))
    throw new TypeError('maxStaleSeconds is a number of seconds from 1 to 86400.');
  if (!isWithin(pollSeconds, 0.05, 60))
    throw new TypeError('pollSeconds is a number of seconds from 0.05 to 60.');
  return { maxStaleSeconds, pollSeconds };
}
