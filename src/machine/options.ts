import type { Signer } from '../core/crypto/provider';
import type { NonceStore } from '../core/nonces/nonce-store';
import { assertOptionNames, isWithin } from '../core/options';
import type { ClientOptions } from '../core/sign/options';
import type { ClientRefusal } from '../core/sign/refusal';
import { readVerifyOptions } from '../core/verify/options';
import type { Refusal } from '../core/verify/refusal';
import { parseHosts } from '../core/wire/authority';
import { assertSigner } from '../keys/external';
import { assertPath } from '../process/environment';
import type { Env } from '../process/home';
import { assertStorage, type UnstorageLike } from '../storage/unstorage/document-store';
import type { AcceptRotation } from '../trust/rotation/successor';

/** Where an instance finds its identity, allow list and nonces. Every option is optional; a wrong one is a TypeError. */
export interface AmeshOptions {
  /** The folder of the identity; default AUTH_MESH_DIR, or ~/.amesh. */
  readonly dir?: string | undefined;
  /** The authorities that this server accepts; default AMESH_HOSTS, or the hosts in the sealed list. */
  readonly hosts?: readonly string[] | undefined;
  /** Default: one store for all `verify()` of this instance, in Redis if REDIS_URL is set, otherwise in memory. */
  readonly nonceStore?: NonceStore | undefined;
  /** An unstorage storage that holds the allow list for several instances; default AMESH_STORE_URL, or `dir`. */
  readonly storage?: UnstorageLike | undefined;
  /**
   * How long the last list stays valid while the shared store cannot be read. Seconds, 1 to 86,400; default 60. A TypeError
   * at the first use without a shared store.
   */
  readonly maxStaleSeconds?: number | undefined;
  /**
   * How often to poll a shared store, in addition to its notifications. Seconds, 0.05 to 60; default 1. A TypeError at the
   * first use without a shared store.
   */
  readonly pollSeconds?: number | undefined;
  /** The header format in which `fetch` sends signatures; default `authmesh`. */
  readonly format?: ClientOptions['format'];
  /**
   * Which responses to `fetch` have to be proven; default `auto`: those over plain http, from targets whose key this machine knows.
   */
  readonly answers?: ClientOptions['answers'];
  /** The largest streaming body that `fetch` buffers, in bytes; default 10,485,760 (10 MiB). */
  readonly maxBufferedBytes?: number | undefined;
  /** The `fetch` that sends the requests; default the global one. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /**
   * What this server does when a caller replaces its key. `admin`, the default: the next key waits until `amesh rotate accept`.
   * `auto`: it counts immediately, so somebody who has stolen the former key can replace it. `false`: it is refused. An instance
   * that cannot change the list accepts no next key.
   */
  readonly acceptRotation?: AcceptRotation | undefined;
  /** Called for each request that this server refuses, and for each request of ours that another server refuses. */
  readonly onRefusal?: ((refusal: Refusal | ClientRefusal) => void) | undefined;
  /**
   * Signs with a private key outside amesh, such as one in a KMS. `amesh init --public-key` makes its identity. It signs the
   * allow list, and about once an hour a working key, which signs the requests of `fetch`.
   */
  readonly signer?: Signer | undefined;
  /** The environment; default `process.env`, read when needed. */
  readonly env?: Env | undefined;
}

const NAMES: ReadonlySet<string> = new Set<keyof AmeshOptions>([
  'dir',
  'hosts',
  'nonceStore',
  'storage',
  'maxStaleSeconds',
  'pollSeconds',
  'format',
  'answers',
  'maxBufferedBytes',
  'fetch',
  'acceptRotation',
  'onRefusal',
  'signer',
  'env',
]);

/** How an instance reads a shared list. */
export interface Sharing {
  readonly maxStaleSeconds: number;
  readonly pollSeconds: number;
}

/** {@link AmeshOptions}, checked. */
export interface AmeshSettings {
  readonly dir: string | undefined;
  readonly storage: UnstorageLike | undefined;
  readonly sharing: Sharing;
  /** The given options that only a shared store uses. */
  readonly sharedOnly: readonly string[];
  /** In normal form; undefined if AMESH_HOSTS or the list decides. */
  readonly hosts: readonly string[] | undefined;
  readonly nonceStore: NonceStore | undefined;
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly acceptRotation: AcceptRotation;
  readonly onRefusal: AmeshOptions['onRefusal'];
  readonly signer: Signer | undefined;
  /** Returns the current environment. */
  readonly env: () => Env;
}

/**
 * Checks all options except `format`, `answers`, `fetch` and `maxBufferedBytes`, which `readOptions()` of core/sign checks.
 *
 * @throws TypeError for an unknown name or a wrong value
 */
export function readAmeshOptions(options: AmeshOptions): AmeshSettings {
  if (typeof options === 'object' && options !== null && 'maxBodyBytes' in options) {
    throw new TypeError(
      'createAmesh() has no option "maxBodyBytes": verify() has it for the body of a request, and maxBufferedBytes is for a stream that fetch buffers.',
    );
  }
  assertOptionNames('createAmesh()', options, NAMES);
  const { dir, storage, nonceStore, fetch, acceptRotation = 'admin', onRefusal, signer, env } = options;
  const sharing = readSharing(options);
  const sharedOnly = (['maxStaleSeconds', 'pollSeconds'] as const).filter(
    (name) => options[name] !== undefined,
  );
  if (storage !== undefined) assertStorage(storage);
  readVerifyOptions({ nonceStore, onRefusal });
  if (dir !== undefined && (typeof dir !== 'string' || dir === ''))
    throw new TypeError('dir is the path of a folder.');
  if (dir !== undefined) assertPath('dir', dir);
  if (env !== undefined && (typeof env !== 'object' || env === null))
    throw new TypeError('env is an object of variables.');
  if (signer !== undefined) assertSigner(signer);
  if (!(['admin', 'auto', false] as readonly unknown[]).includes(acceptRotation))
    throw new TypeError('acceptRotation is "admin", "auto" or false.');
  const hosts = options.hosts === undefined ? undefined : parseHosts(options.hosts);
  return {
    dir,
    storage,
    sharing,
    sharedOnly,
    hosts,
    nonceStore,
    fetch,
    acceptRotation,
    onRefusal,
    signer,
    env: () => env ?? process.env,
  };
}

function readSharing({ maxStaleSeconds = 60, pollSeconds = 1 }: AmeshOptions): Sharing {
  if (!isWithin(maxStaleSeconds, 1, 86_400))
    throw new TypeError('maxStaleSeconds is a number of seconds from 1 to 86400.');
  if (!isWithin(pollSeconds, 0.05, 60))
    throw new TypeError('pollSeconds is a number of seconds from 0.05 to 60.');
  return { maxStaleSeconds, pollSeconds };
}

/**
 * `app.use(amesh.verify)`, without the parentheses, passes the request as the options.
 *
 * @throws TypeError for a request
 */
export function assertMounted(options: object): void {
  if ('socket' in options)
    throw new TypeError('verify() was given a request. Call it when you mount it: amesh.verify().');
}
