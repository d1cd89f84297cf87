import { INSTANCE_SKEW_MS, MAX_DELEGATE_NONCES } from '../../core/nonces/nonce-store';
import { assertOptionNames, isWithin } from '../../core/options';
import { type IoRedis, isIoRedis } from './client';
import { type RedisSource, type RedisSourceOptions, readRedisSource } from './source';

/** The Redis for nonces, and how long a request waits for it. Pass exactly one of `url`, `cluster`, `redis` and `client`. */
export interface RedisNonceStoreOptions extends RedisSourceOptions {
  /** How long a request waits for Redis before it is refused with 503. Milliseconds, 10 to 10,000; default 250. */
  readonly timeoutMs?: number | undefined;
  /**
   * How many nonces the delegates of one device may have in Redis at once. A whole number from 1 to 10,000,000; default 125,000,
   * which is 400 requests a second, and 15 MB. Further requests of delegates are refused with 503; the device itself is not
   * affected.
   */
  readonly maxDelegateNonces?: number | undefined;
  /**
   * After Redis may have forgotten nonces, refuse all requests until no earlier request could be accepted any more, not even from a
   * caller whose clock is ahead: for `clockSkewSeconds` and 10 s. Default false.
   */
  readonly strictRestart?: boolean | undefined;
  /** The value that `verify()` has; only with `strictRestart`. Seconds, 1 to 300; default 30. */
  readonly clockSkewSeconds?: number | undefined;
}

/** Checked {@link RedisNonceStoreOptions} with defaults. */
export interface RedisNonceSettings {
  readonly source: RedisSource;
  readonly timeoutMs: number;
  readonly maxDelegateNonces: number;
  /** How many seconds to wait after a loss. */
  readonly waitSeconds: number;
}

const NAMES: ReadonlySet<string> = new Set<keyof RedisNonceStoreOptions>([
  'url',
  'cluster',
  'redis',
  'client',
  'timeoutMs',
  'maxDelegateNonces',
  'strictRestart',
  'clockSkewSeconds',
]);

/** How far the clocks of a target's instances may differ. */
export const INSTANCE_SKEW_SECONDS = INSTANCE_SKEW_MS / 1000;

/** @throws TypeError */
export function readRedisNonceOptions(
  from: string | undefined | IoRedis | RedisNonceStoreOptions,
): RedisNonceSettings {
  const options = toOptions(from);
  assertOptionNames('new RedisNonceStore()', options, NAMES);
  const { timeoutMs = 250, strictRestart = false, clockSkewSeconds = 30 } = options;
  const { maxDelegateNonces = MAX_DELEGATE_NONCES } = options;
  if (!isWithin(timeoutMs, 10, 10_000)) {
    throw new TypeError('timeoutMs must be a number of milliseconds from 10 to 10000.');
  }
  if (!Number.isInteger(maxDelegateNonces) || !isWithin(maxDelegateNonces, 1, 10_000_000))
    throw new TypeError('maxDelegateNonces must be a whole number from 1 to 10,000,000.');
  if (typeof strictRestart !== 'boolean') throw new TypeError('strictRestart must be true or false.');
  if (!isWithin(clockSkewSeconds, 1, 300)) {
    throw new TypeError('clockSkewSeconds must be a number of seconds from 1 to 300.');
  }
  if (options.clockSkewSeconds !== undefined && !strictRestart)
    throw new TypeError('clockSkewSeconds of a RedisNonceStore is for strictRestart: give it with that.');
  return {
    source: readRedisSource(options, 'REDIS_URL'),
    timeoutMs,
    maxDelegateNonces,
    waitSeconds: strictRestart ? Math.ceil(clockSkewSeconds) + INSTANCE_SKEW_SECONDS : 0,
  };
}

function toOptions(from: string | undefined | IoRedis | RedisNonceStoreOptions): RedisNonceStoreOptions {
  if (from === undefined || typeof from === 'string') return { url: from };
  if (typeof from !== 'object' || from === null)
    throw new TypeError('RedisNonceStore needs a URL, options, or an ioredis client.');
  return isIoRedis(from) ? { client: from } : from;
}
