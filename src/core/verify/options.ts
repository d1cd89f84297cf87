import { readRequire, type Scope } from '../devices/scopes';
import { MAX_CLOCK_SKEW_SECONDS, type NonceStore } from '../nonces/nonce-store';
import { assertOptionNames, isWithin } from '../options';
import { normalizeAuthority, parseHosts } from '../wire/authority';

import type { Refusal } from './refusal';

/**
 * The name of an option of `verify()`: `{ [streamUnverifiedBody]: true }` lets handlers read a body while it arrives, without
 * buffering. **They see unverified bytes.** Only a body that ends without an error is the signed one: if it ends with an error,
 * discard everything that was made from it.
 *
 * The last chunk is withheld until the digest is verified. A body that is changed, too long or cut off ends with an
 * error, never normally.
 *
 * @see docs/server.md, "Large bodies"
 */
export const streamUnverifiedBody: unique symbol = Symbol('streamUnverifiedBody');

/** How to verify requests. Every option is optional; a wrong one is a TypeError where it is passed. */
export interface VerifyOptions {
  /** How far `created` may differ from this machine's clock, in either direction. Seconds, 1 to 300; default 30. */
  readonly clockSkewSeconds?: number | undefined;
  /** How long to remember a nonce at least. Seconds, from twice `clockSkewSeconds` to 86,400; default 60, or twice if larger. */
  readonly nonceWindowSeconds?: number | undefined;
  /** Default: one `InMemoryNonceStore` for all verifiers of an instance. */
  readonly nonceStore?: NonceStore | undefined;
  /** The largest accepted body, in bytes; default 1,048,576 (1 MiB). */
  readonly maxBodyBytes?: number | undefined;
  /**
   * The largest body of an answer that is buffered until it is complete, if the caller asked for a signed answer; in bytes,
   * default 1,048,576 (1 MiB). The body of a larger one is not signed, and the answer says so.
   */
  readonly maxAnswerBytes?: number | undefined;
  /** The authorities (`host` or `host:port`) that this server accepts; default AMESH_HOSTS, or the hosts in the sealed list. */
  readonly hosts?: readonly string[] | undefined;
  /**
   * Replaces the Host header, behind a proxy that rewrites it. The server then accepts only this authority, so `hosts` and
   * `trustForwardedHost` cannot be combined with it.
   */
  readonly authority?: string | undefined;
  /** The path prefix that a proxy strips. Begins with `/`, and does not end with it. */
  readonly pathPrefix?: string | undefined;
  /** Uses X-Forwarded-Host instead of Host; only behind a proxy that always sets it. Default false. */
  readonly trustForwardedHost?: boolean | undefined;
  /**
   * Handles `POST /.well-known/amesh/enroll`, by which callers that have a grant add themselves to the allow list;
   * default false. Needs the private key of the list, so only an instance of `createAmesh()` can do it.
   */
  readonly enroll?: boolean | undefined;
  /**
   * The scope that a caller must have, or a list of scopes of which it must have all, such as `orders:read`: 1 to 64 of
   * `a-z 0-9 _ . : -`. A device without one of them is refused with 403 `scope_missing`. Default: none. Callers get scopes with
   * `amesh allow`.
   */
  readonly require?: Scope | readonly Scope[];
  /**
   * Whether delegates of devices may call: programs that a device lends some of its scopes to. Default: true with `require`, which
   * limits them, and false without it. If false, they are refused with 403 `delegate_not_allowed`.
   */
  readonly delegates?: boolean | undefined;
  /** See {@link streamUnverifiedBody}; default false. `maxBodyBytes` still applies. */
  readonly [streamUnverifiedBody]?: boolean | undefined;
  /** Called for each refusal, with the precise reason, which clients do not see. */
  readonly onRefusal?: ((refusal: Refusal) => void) | undefined;
}

/** Checked {@link VerifyOptions} with defaults, except the stores. */
export interface VerifySettings {
  readonly clockSkewSeconds: number;
  readonly nonceWindowSeconds: number;
  readonly nonceStore: NonceStore | undefined;
  readonly maxBodyBytes: number;
  readonly maxAnswerBytes: number;
  readonly streamsBody: boolean;
  readonly hosts: ReadonlySet<string> | undefined;
  readonly authority: string | undefined;
  readonly pathPrefix: string | undefined;
  readonly trustForwardedHost: boolean;
  readonly enroll: boolean;
  readonly require: readonly string[];
  readonly delegates: boolean;
  readonly onRefusal: ((refusal: Refusal) => void) | undefined;
}

const MIB = 1_048_576;

const NAMES: ReadonlySet<string | symbol> = new Set<keyof VerifyOptions>([
  'clockSkewSeconds',
  'nonceWindowSeconds',
  'nonceStore',
  'maxBodyBytes',
  'maxAnswerBytes',
  'hosts',
  'authority',
  'pathPrefix',
  'trustForwardedHost',
  'enroll',
  'require',
  'delegates',
  'onRefusal',
  streamUnverifiedBody,
]);

/**
 * @throws TypeError for an unknown name or a value out of range
 */
export function readVerifyOptions(options: VerifyOptions = {}): VerifySettings {
  assertOptionNames('verify()', options, NAMES);
  const { nonceStore, onRefusal, trustForwardedHost = false, enroll = false } = options;
  const { maxBodyBytes = MIB, maxAnswerBytes = MIB, delegates = 'require' in options } = options;
  const clockSkewSeconds = options.clockSkewSeconds ?? 30;
  if (!isWithin(clockSkewSeconds, 1, MAX_CLOCK_SKEW_SECONDS)) {
    throw new TypeError('clockSkewSeconds must be a number of seconds from 1 to 300.');
  }
  const nonceWindowSeconds = options.nonceWindowSeconds ?? Math.max(60, 2 * clockSkewSeconds);
  if (!isWithin(nonceWindowSeconds, 2 * clockSkewSeconds, 86_400)) {
    throw new TypeError('nonceWindowSeconds must be from twice clockSkewSeconds to 86400.');
  }
  for (const [name, bytes] of Object.entries({ maxBodyBytes, maxAnswerBytes })) {
    if (!Number.isSafeInteger(bytes) || bytes < 0)
      throw new TypeError(`${name} must be a whole number of bytes.`);
  }
  if (nonceStore !== undefined && typeof nonceStore.claim !== 'function') {
    throw new TypeError('nonceStore has no claim().');
  }
  if (onRefusal !== undefined && typeof onRefusal !== 'function')
    throw new TypeError('onRefusal must be a function.');
  const streamsBody = options[streamUnverifiedBody] ?? false;
  for (const [name, value] of Object.entries({
    trustForwardedHost,
    enroll,
    delegates,
    streamUnverifiedBody: streamsBody,
  })) {
    if (typeof value !== 'boolean') throw new TypeError(`${name} must be true or false.`);
  }
  const hosts = options.hosts === undefined ? undefined : new Set(parseHosts(options.hosts));
  if (hosts?.size === 0) throw new TypeError('hosts is empty: leave it out, or name a host.');
  if (options.authority !== undefined && (hosts !== undefined || trustForwardedHost))
    throw new TypeError('authority replaces hosts and trustForwardedHost.');
  return {
    clockSkewSeconds,
    nonceWindowSeconds,
    nonceStore,
    maxBodyBytes,
    maxAnswerBytes,
    streamsBody,
    hosts,
    authority: options.authority === undefined ? undefined : readAuthority(options.authority),
    pathPrefix: readPathPrefix(options.pathPrefix),
    trustForwardedHost,
    enroll,
    require: 'require' in options ? readRequire(options.require) : [],
    delegates,
    onRefusal,
  };
}

function readAuthority(text: string): string {
  const authority = typeof text === 'string' ? normalizeAuthority(text) : null;
  if (authority === null) throw new TypeError('authority must be host or host:port.');
  return authority;
}

function readPathPrefix(prefix: string | undefined): string | undefined {
  if (prefix === undefined || prefix === '') return undefined;
  if (typeof prefix !== 'string' || !/^(?:\/[\x21\x22\x24-\x2e\x30-\x3e\x40-\x7e]+)+$/.test(prefix)) {
    throw new TypeError('pathPrefix must begin with "/", not end with it, and have no query.');
  }
  return prefix;
}
