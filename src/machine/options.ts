import type { NonceStore } from '../core/nonces/nonce-store';
import { assertOptionNames, isWithin } from '../core/options';
import type { ClientOptions } from '../core/sign/client';
import type { ClientRefusal } from '../core/sign/refusal';
import { readVerifyOptions } from '../core/verify/options';
import type { Refusal } from '../core/verify/refusal';
import { parseHosts } from '../core/wire/authority';
import { assertPath } from '../process/environment';
import type { Env } from '../process/home';
import { assertStorage, type UnstorageLike } from '../storage/unstorage/document-store';

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
  /**
   * How long the list of a shared store counts when that cannot be read. Seconds, 1 to 86,400; default 60. A TypeError
   * at the first use where no store is shared.
   */
  readonly maxStaleSeconds?: number | undefined;
  /**
   * How often a shared store is read, beside what it tells by itself. Seconds, 0.05 to 60; default 1. A TypeError at the
   * first use where no store is shared.
   */
  readonly pollSeconds?: number | undefined;
  /** How `fetch` sends signatures; default `authmesh`. */
  readonly format?: ClientOptions['format'];
  /** The most bytes of a streaming body that `fetch` buffers; default 10,485,760 (10 MiB). */
  readonly maxBufferedBytes?: number | undefined;
  /** The `fetch` that sends; default the global one. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Told of each request that this server refuses, and of each that another refuses to us. */
  readonly onRefusal?: ((refusal: Refusal | ClientRefusal) => void) | undefined;
  /** The environment; default `process.env`, read when it is needed. */
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
  'maxBufferedBytes',
  'fetch',
  'onRefusal',
  'env',
]);

/** How an instance reads a list that others share. */
export interface Sharing {
  readonly maxStaleSeconds: number;
  readonly pollSeconds: number;
}

/** {@link AmeshOptions}, checked. */
export interface AmeshSettings {
  readonly dir: string | undefined;
  readonly storage: UnstorageLike | undefined;
  readonly sharing: Sharing;
  /** The options that only a shared store makes use of, as far as they were given. */
  readonly sharedOnly: readonly string[];
  /** In normal form; undefined where the variable or the list decides. */
  readonly hosts: readonly string[] | undefined;
  readonly nonceStore: NonceStore | undefined;
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly onRefusal: AmeshOptions['onRefusal'];
  /** The environment as it is when it is asked for. */
  readonly env: () => Env;
}

/**
 * Checks what {@link createPreparer} does not check: `format`, `fetch` and `maxBufferedBytes` are its options too.
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
  const { dir, storage, nonceStore, fetch, onRefusal, env } = options;
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
  const hosts = options.hosts === undefined ? undefined : parseHosts(options.hosts);
  return {
    dir,
    storage,
    sharing,
    sharedOnly,
    hosts,
    nonceStore,
    fetch,
    onRefusal,
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
