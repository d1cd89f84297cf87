import {
  DurableNonceStore,
  type DurableObjectNamespace,
  isDurableObjectNamespace,
} from '../adapters/workers/durable-nonces';
import type { AllowListSource } from '../core/devices/allow-list';
import { toUtf8 } from '../core/encoding';
import { InMemoryNonceStore } from '../core/nonces/memory';
import type { NonceStore } from '../core/nonces/nonce-store';
import { assertOptions, isWithin } from '../core/options';
import { ROTATION_HEADER } from '../core/rotation/field';
import { readVerifyOptions, type VerifyOptions } from '../core/verify/options';
import type { Refusal } from '../core/verify/refusal';
import { createVerifierWith, type Verifier } from '../core/verify/verify';
import { isDeviceId } from '../core/wire/credentials';
import { fieldValue } from '../core/wire/view';
import { hostsOf } from '../process/hosts-variable';
import { createLog } from '../process/log';
import { isKvNamespace, type KvNamespace, readKv } from '../storage/kv';
import { pageKey } from '../storage/page-key';
import { listBytes } from '../trust/format/export';
import { MAX_PAGE_BYTES } from '../trust/format/page';
import { SealedList, type SealedListOptions } from '../trust/list/sealed-list';
import { isMinRevision, readListId, readMinRevision, readOwnerKeys } from '../trust/owner-key';
import { CANNOT_PROVE, mountAnswerKey } from './answers/mounted-answer-key';
import { tellUnsigned } from './answers/tell-unsigned';
import { CallerEnds } from './ends/caller-ends';
import { CANNOT_ROTATE } from './rotation/cannot-rotate';

/** The key of the allow list in KV: the same as the file name in AUTH_MESH_DIR. */
const KEY = 'allow_list.json';

/** Options for verifying without files. The variable in brackets supplies an option that is left out. */
export interface WorkerOptions extends Omit<VerifyOptions, 'nonceStore'> {
  /**
   * The sealed allow list (`AMESH_ALLOW_LIST`): a KV namespace with the key `allow_list.json`, the text of that file, or a
   * function that reads it and returns null if there is none.
   */
  readonly allowList?: KvNamespace | string | (() => Promise<Uint8Array | null>) | undefined;
  /**
   * The public key of the list owner (`AMESH_OWNER_KEY`): 33 bytes in base64url, 44 characters. With a comma and a second key, the
   * list may move to that key: from the first list that it seals on, lists of the first key are refused.
   */
  readonly ownerKey?: string | undefined;
  /** The device ID of the target that the list belongs to (`AMESH_DEVICE_ID`). Default: the ID of the first owner. */
  readonly deviceId?: string | undefined;
  /**
   * The lowest revision of the list that counts (`AMESH_MIN_REVISION`): 1 to 281,474,976,710,655. A Worker does not store
   * revisions, so a new Worker would accept an older list. Default: any.
   */
  readonly minRevision?: number | undefined;
  /**
   * Signs the answers to callers that ask for that (`AMESH_ANSWER_KEY`): the text that `amesh answer-key` printed on the machine
   * with the key of the list. A secret. Default: answers are sent unsigned.
   */
  readonly answerKey?: string | undefined;
  /**
   * How long the last list stays valid while the list cannot be read; not for a list that is a text. Seconds, 1 to 86,400; default
   * 60.
   */
  readonly maxStaleSeconds?: number | undefined;
  /**
   * A nonce store, or the namespace of `AmeshNonces` (`AMESH_NONCES`). Default: a memory store, which detects replays
   * within one isolate only and logs that once.
   */
  readonly nonceStore?: NonceStore | DurableObjectNamespace | undefined;
}

const CANNOT_ENROL =
  'enroll needs the private key that seals the allow list: enrol at a server that has it. See docs/workers.md.';

/** Variables and bindings, as in `fetch(request, env)`. */
export type Bindings = Readonly<Record<string, unknown>>;

/**
 * Creates a verifier for a runtime without files.
 *
 * @param env supplies what the options leave out
 * @param answerKey the value of AMESH_ANSWER_KEY
 * @throws TypeError for a wrong option or variable, a missing list or owner, or REDIS_URL without a nonce store
 */
export function createVerifierWithoutFiles(
  options: WorkerOptions,
  env: Bindings,
  answerKey: unknown = env.AMESH_ANSWER_KEY,
): Verifier {
  assertWorkerOptions(options);
  const {
    allowList: _,
    ownerKey: _o,
    deviceId: _i,
    minRevision: _r,
    maxStaleSeconds: _s,
    answerKey: given,
    ...rest
  } = options;
  const log = createLog(env as Record<string, string>, null);
  const { onRefusal } = options;
  const ends = new CallerEnds(log.once);
  const hosts = options.authority === undefined ? (options.hosts ?? hostsOf(env)) : undefined;
  const allowList = toSource(options, env);
  const mounted = mountAnswerKey(given ?? answerKey, toOwnersOf(options, env), log);
  if (mounted === undefined) log.once(CANNOT_PROVE);
  const verifierOptions = {
    ...rest,
    hosts,
    allowList,
    answerSigner: mounted && (() => mounted.signer()),
    onSigningFailure: (error: unknown) => tellUnsigned(error, log),
    nonceStore: toNonceStore(options.nonceStore ?? env.AMESH_NONCES, env, log.once),
    onRefusal: (refusal: Refusal) => {
      log.refusal(refusal);
      return onRefusal?.(refusal);
    },
  };
  return createVerifierWith(verifierOptions, {
    onAccept({ list, device, nowMs, view }) {
      ends.note(list, device, nowMs);
      return fieldValue(view.headers, ROTATION_HEADER) === undefined ? undefined : CANNOT_ROTATE;
    },
  });
}

/** @throws TypeError for an unknown name or a value out of range */
export function assertWorkerOptions(options: WorkerOptions): void {
  assertOptions('verify()', options);
  const { allowList, ownerKey, deviceId, minRevision, maxStaleSeconds, nonceStore, answerKey, ...rest } =
    options;
  if (answerKey !== undefined && typeof answerKey !== 'string')
    throw new TypeError('answerKey is the text that amesh answer-key printed.');
  if (readVerifyOptions(rest).enroll) throw new TypeError(CANNOT_ENROL);
  if (ownerKey !== undefined) toOwners(ownerKey);
  if (deviceId !== undefined && !isDeviceId(deviceId))
    throw new TypeError('deviceId must have the form am_….');
  if (minRevision !== undefined && !isMinRevision(minRevision))
    throw new TypeError('minRevision is a whole number from 1 to 281474976710655.');
  const isFixed = allowList !== undefined && toReader(allowList).isFixed;
  readMaxStale(maxStaleSeconds, isFixed);
  if (nonceStore !== undefined && !isDurableObjectNamespace(nonceStore)) readVerifyOptions({ nonceStore });
}

function toSource(options: WorkerOptions, env: Bindings): AllowListSource {
  const { allowList = env.AMESH_ALLOW_LIST } = options;
  if (allowList === undefined) {
    throw new TypeError(
      'There is no allow list: bind a KV namespace as AMESH_ALLOW_LIST. See docs/workers.md.',
    );
  }
  const { read, readPages, isFixed } = toReader(allowList);
  const { owners, list } = toOwnersOf(options, env);
  const minRevision = options.minRevision ?? readMinRevision(env);
  const maxStaleSeconds = readMaxStale(options.maxStaleSeconds, isFixed);
  const settings = { owners, list, minRevision, maxStaleSeconds };
  const create = () => new SealedList({ ...settings, read, readPages });
  return typeof allowList === 'string'
    ? create()
    : share(env, allowList as object, JSON.stringify(settings), create);
}

function toOwnersOf({ ownerKey, deviceId }: WorkerOptions, env: Bindings) {
  return { owners: toOwners(ownerKey ?? env.AMESH_OWNER_KEY), list: deviceId ?? readListId(env) };
}

function toReader(allowList: unknown): Pick<SealedListOptions, 'read' | 'readPages'> & { isFixed: boolean } {
  if (typeof allowList === 'string') {
    // Pasting a list, or reading it with $(cat …), drops the newline at its end.
    const text = allowList.trim();
    if (!text.startsWith('{'))
      throw new TypeError(
        'The allow list (AMESH_ALLOW_LIST) must be the text of allow_list.json, which begins with {.',
      );
    const from = allowList.indexOf('{');
    const line = allowList.slice(from, from + text.length + 1); // a slice, since adding a newline would copy the text
    const bytes = listBytes(line.endsWith('\n') ? line : `${text}\n`);
    return { read: async () => bytes, isFixed: true };
  }
  if (isKvNamespace(allowList)) {
    return {
      read: async () => {
        const value = await readKv(allowList, KEY);
        return typeof value === 'string' ? listBytes(value) : value;
      },
      readPages: (names) => Promise.all(names.map((name) => readPage(allowList, name))),
      isFixed: false,
    };
  }
  if (typeof allowList === 'function')
    return { read: allowList as () => Promise<Uint8Array | null>, isFixed: false };
  throw new TypeError(
    'allowList must be a KV namespace, the text of allow_list.json, or a function that reads it.',
  );
}

async function readPage(namespace: KvNamespace, name: string): Promise<Uint8Array | null> {
  const value = await readKv(namespace, pageKey(KEY, name), MAX_PAGE_BYTES);
  return typeof value === 'string' ? toUtf8(value) : value;
}

function toOwners(ownerKey: unknown): readonly Uint8Array[] {
  const owners = readOwnerKeys({
    AMESH_OWNER_KEY: typeof ownerKey === 'string' ? ownerKey.trim() : undefined,
  });
  if (owners === null)
    throw new TypeError(
      'There is no ownerKey (AMESH_OWNER_KEY): the public key of the device that seals the allow list.',
    );
  return owners;
}

function readMaxStale(seconds: number | undefined, isFixed: boolean): number {
  if (isFixed && seconds !== undefined) throw new TypeError('maxStaleSeconds has no effect on a text.');
  if (seconds !== undefined && !isWithin(seconds, 1, 86_400))
    throw new TypeError('maxStaleSeconds is a number of seconds from 1 to 86400.');
  return seconds ?? (isFixed ? Number.POSITIVE_INFINITY : 60);
}

function toNonceStore(given: unknown, env: Bindings, warn: (line: string) => void): NonceStore {
  if (isDurableObjectNamespace(given)) return share(env, given, '', () => new DurableNonceStore(given));
  if (given !== undefined) return given as NonceStore;
  // REDIS_URL asks for shared nonces, but a Worker does not use Redis.
  if (env.REDIS_URL !== undefined)
    throw new TypeError(
      'REDIS_URL is set, but there is no nonce store: bind AMESH_NONCES on Workers, or pass nonceStore: new RedisNonceStore(REDIS_URL).',
    );
  warn(
    'Using in-memory nonce store. It detects replays within one isolate only; a request can be replayed to another. See docs/workers.md.',
  );
  return share(env, env, '', () => new InMemoryNonceStore());
}

const shared = new WeakMap<Bindings, WeakMap<object, Map<string, unknown>>>();

/**
 * One object for all verifiers of an environment: each route may have a verifier of its own, and a request that two of them check
 * is claimed only once, with one list.
 *
 * @param of the binding from which the object is made
 * @param settings as a text: other settings get another object
 */
function share<T>(env: Bindings, of: object, settings: string, create: () => T): T {
  const ofEnv = shared.get(env) ?? new WeakMap();
  shared.set(env, ofEnv);
  const ofBinding: Map<string, T> = ofEnv.get(of) ?? new Map();
  ofEnv.set(of, ofBinding);
  const known = ofBinding.get(settings) ?? create();
  ofBinding.set(settings, known);
  return known;
}
