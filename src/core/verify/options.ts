import { MAX_CLOCK_SKEW_SECONDS, type NonceStore } from '../nonces/nonce-store';
import { assertOptionNames, isWithin } from '../options';
import { normalizeAuthority, parseHosts } from '../wire/authority';

import type { Refusal } from './refusal';

/**
 * The name of an option of `verify()`: `{ [streamUnverifiedBody]: true }` lets handlers read a body while it arrives, and
 * nothing is buffered. **They see bytes that are not verified.** Only when the body has ended without an error is it the
 * one that was signed: what was made of it before then has to be thrown away otherwise.
 *
 * The last chunk is held back until the digest is right. A body that is another, too long, or broken off ends in an
 * error, never cleanly.
 *
 * @see docs/server.md, "Large bodies"
 */
export const streamUnverifiedBody: unique symbol = Symbol('streamUnverifiedBody');

/** How requests are verified. Every option may be left out; a wrong one is a TypeError where it is given. */
export interface VerifyOptions {
  /** How far `created` may be from this machine's clock, either way. Seconds, 1 to 300; default 30. */
  readonly clockSkewSeconds?: number | undefined;
  /** How long a nonce is remembered at least. Seconds, at least twice `clockSkewSeconds`; default 60 or that. */
  readonly nonceWindowSeconds?: number | undefined;
  /** Default: one `InMemoryNonceStore` for all verifiers of an instance. */
  readonly nonceStore?: NonceStore | undefined;
  /** The largest body that is accepted, in bytes; default 1,048,576 (1 MiB). */
  readonly maxBodyBytes?: number | undefined;
  /** The authorities (`host` or `host:port`) that this server answers to; default: AMESH_HOSTS, then the sealed list. */
  readonly hosts?: readonly string[] | undefined;
  /**
   * Takes the place of the Host header, behind a proxy that rewrites it. It is then the one host of this server, so
   * `hosts` and `trustForwardedHost` cannot be given beside it.
   */
  readonly authority?: string | undefined;
  /** Put back in front of the path, behind a proxy that strips it. Begins with `/`, does not end with it. */
  readonly pathPrefix?: string | undefined;
  /** Takes X-Forwarded-Host for the Host header; only behind a proxy that sets it itself. Default false. */
  readonly trustForwardedHost?: boolean | undefined;
  /**
   * Answers `POST /.well-known/amesh/enroll`, by which callers that hold a grant put themselves into the allow list;
   * default false. Needs the list's own key, so an instance of `createAmesh()`.
   */
  readonly enroll?: boolean | undefined;
  /** See {@link streamUnverifiedBody}; default false. `maxBodyBytes` counts all the same. */
  readonly [streamUnverifiedBody]?: boolean | undefined;
  /** Told of each refusal, with the precise reason that the client does not get to see. */
  readonly onRefusal?: ((refusal: Refusal) => void) | undefined;
}

/** {@link VerifyOptions} checked and with its defaults, but for the stores. */
export interface VerifySettings {
  readonly clockSkewSeconds: number;
  readonly nonceWindowSeconds: number;
  readonly nonceStore: NonceStore | undefined;
  readonly maxBodyBytes: number;
  readonly streamsBody: boolean;
  readonly hosts: ReadonlySet<string> | undefined;
  readonly authority: string | undefined;
  readonly pathPrefix: string | undefined;
  readonly trustForwardedHost: boolean;
  readonly enroll: boolean;
  readonly onRefusal: ((refusal: Refusal) => void) | undefined;
}

const NAMES: ReadonlySet<string | symbol> = new Set<keyof VerifyOptions>([
  'clockSkewSeconds',
  'nonceWindowSeconds',
  'nonceStore',
  'maxBodyBytes',
  'hosts',
  'authority',
  'pathPrefix',
  'trustForwardedHost',
  'enroll',
  'onRefusal',
  streamUnverifiedBody,
]);

/**
 * @throws TypeError for an unknown name or a value out of range
 */
export function readVerifyOptions(options: VerifyOptions = {}): VerifySettings {
  assertOptionNames('verify()', options, NAMES);
  const { nonceStore, onRefusal, trustForwardedHost = false, enroll = false } = options;
  const { maxBodyBytes = 1_048_576 } = options;
  const clockSkewSeconds = options.clockSkewSeconds ?? 30;
  if (!isWithin(clockSkewSeconds, 1, MAX_CLOCK_SKEW_SECONDS)) {
    throw new TypeError('clockSkewSeconds is a number of seconds from 1 to 300.');
  }
  const nonceWindowSeconds = options.nonceWindowSeconds ?? Math.max(60, 2 * clockSkewSeconds);
  if (!isWithin(nonceWindowSeconds, 2 * clockSkewSeconds, 86_400)) {
    throw new TypeError('nonceWindowSeconds is from twice clockSkewSeconds to 86400.');
  }
  if (!Number.isSafeInteger(maxBodyBytes) || maxBodyBytes < 0) {
    throw new TypeError('maxBodyBytes is a whole number of bytes.');
  }
  if (nonceStore !== undefined && typeof nonceStore.claim !== 'function') {
    throw new TypeError('nonceStore has no claim().');
  }
  if (onRefusal !== undefined && typeof onRefusal !== 'function')
    throw new TypeError('onRefusal is a function.');
  const streamsBody = options[streamUnverifiedBody] ?? false;
  for (const [name, value] of Object.entries({
    trustForwardedHost,
    enroll,
    streamUnverifiedBody: streamsBody,
  })) {
    if (typeof value !== 'boolean') throw new TypeError(`${name} is true or false.`);
  }
  const hosts = options.hosts === undefined ? undefined : new Set(parseHosts(options.hosts));
  if (hosts?.size === 0) throw new TypeError('hosts is empty: leave it out, or name a host.');
  if (options.authority !== undefined && (hosts !== undefined || trustForwardedHost))
    throw new TypeError('authority replaces every host: give it without hosts and trustForwardedHost.');
  return {
    clockSkewSeconds,
    nonceWindowSeconds,
    nonceStore,
    maxBodyBytes,
    streamsBody,
    hosts,
    authority: options.authority === undefined ? undefined : readAuthority(options.authority),
    pathPrefix: readPathPrefix(options.pathPrefix),
    trustForwardedHost,
    enroll,
    onRefusal,
  };
}

function readAuthority(text: string): string {
  const authority = typeof text === 'string' ? normalizeAuthority(text) : null;
  if (authority === null) throw new TypeError('authority is host or host:port.');
  return authority;
}

function readPathPrefix(prefix: string | undefined): string | undefined {
  if (prefix === undefined || prefix === '') return undefined;
  if (typeof prefix !== 'string' || !/^(?:\/[\x21\x22\x24-\x2e\x30-\x3e\x40-\x7e]+)+$/.test(prefix)) {
    throw new TypeError('pathPrefix begins with "/", does not end with it, and has no query.');
  }
  return prefix;
}
