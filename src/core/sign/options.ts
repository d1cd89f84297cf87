import { clientCrypto } from '#crypto';
import { type Answers, type CalledTarget, readAnswers } from '../answers/asking';
import type { CryptoProvider, MaybePromise, Signer } from '../crypto/provider';
import { KeyCache } from '../devices/key-cache';
import { assertOptionNames } from '../options';
import type { RotationAnswer } from '../rotation/field';
import { ServerClocks } from './clock';
import { openOnce } from './open-signer';
import type { ClientRefusal } from './refusal';
import { DEFAULT_SIGN_BODY_BYTES, type SignatureFormat } from './sign-request';

/** How a client signs and sends. Only the signer is required; a wrong option is a TypeError. */
export interface ClientOptions {
  /** The signer, or a function that opens it. The function is called at the first request, and again only after a failure. */
  readonly signer: Signer | (() => MaybePromise<Signer>);
  /** The header format of signatures; default `authmesh`. */
  readonly format?: SignatureFormat | undefined;
  /**
   * Returns the device ID of the target that has an authority, to be sent as AuthMesh-Target. Answers can only be proven if
   * it returns the key of the target, too.
   */
  readonly targetOf?: ((authority: string) => MaybePromise<string | CalledTarget | undefined>) | undefined;
  /** Which responses have to be proven; default `auto`. */
  readonly answers?: Answers | undefined;
  /** The `fetch` that sends; default the global one, looked up for each request. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /**
   * The largest streaming body that is buffered for hashing, in bytes; default 10,485,760 (10 MiB). The body of a
   * `Request` is a stream, too. It also limits the body of a proven answer where the runtime has no incremental SHA-256.
   */
  readonly maxBufferedBytes?: number | undefined;
  /**
   * Called with cause and fix when an amesh server refuses a request, which `fetch` still returns; and with `answer_unproven`,
   * which it throws.
   */
  readonly onRefusal?: ((refusal: ClientRefusal) => void) | undefined;
  /**
   * Called with the verdict of a target about the `rotation` that `targetOf` returned. An answer over plain http has to be proven,
   * unless it came over loopback.
   */
  readonly onRotation?: ((answer: AnsweredRotation) => void) | undefined;
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** The verdict of a target about AuthMesh-Rotation. */
export interface AnsweredRotation {
  /** `am_` and 16 base64url characters. */
  readonly targetId: string;
  /** The value in the request. */
  readonly rotation: string;
  /** The verdict of the target. */
  readonly answer: RotationAnswer;
  /** Whether the target has signed that. */
  readonly isProven: boolean;
}

const NAMES: ReadonlySet<string> = new Set<keyof ClientOptions>([
  'signer',
  'format',
  'targetOf',
  'answers',
  'fetch',
  'maxBufferedBytes',
  'onRefusal',
  'onRotation',
  'crypto',
  'now',
]);

/** The checked options of a client, and what its requests share: the keys of targets, and the clocks of servers. */
export type Settings = ReturnType<typeof readOptions>;

/**
 * @param open supplies the signer, for each request; default: it is opened once
 * @throws TypeError for a wrong option
 */
export function readOptions(options: ClientOptions, open = openOnce(options.signer)) {
  assertOptionNames('createClient()', options, NAMES);
  const {
    format = 'authmesh',
    answers = 'auto',
    maxBufferedBytes = DEFAULT_SIGN_BODY_BYTES,
    crypto = clientCrypto,
    now = Date.now,
  } = options;
  const { signer, targetOf, onRefusal, onRotation, fetch } = options;
  if (format !== 'authmesh' && format !== 'rfc9421')
    throw new TypeError('format must be "authmesh" or "rfc9421".');
  if (
    typeof signer !== 'function' &&
    !(typeof signer?.sign === 'function' && signer.publicKey?.length === 33)
  )
    throw new TypeError('createClient() needs a signer.');
  if (!Number.isSafeInteger(maxBufferedBytes) || maxBufferedBytes < 0)
    throw new TypeError('maxBufferedBytes must be a whole number of bytes.');
  for (const [name, value] of Object.entries({ targetOf, fetch, onRefusal, onRotation, now })) {
    if (value !== undefined && typeof value !== 'function')
      throw new TypeError(`${name} must be a function.`);
  }
  readAnswers(answers);
  if (typeof crypto.randomBytes !== 'function') throw new TypeError('crypto must be a CryptoProvider.');
  const clocks = new ServerClocks(now);
  const doFetch: typeof globalThis.fetch = (input, init) => (fetch ?? globalThis.fetch)(input, init);
  const keys = new KeyCache(crypto);
  return {
    format,
    targetOf,
    answers,
    maxBufferedBytes,
    onRefusal,
    onRotation,
    crypto,
    now,
    fetch,
    open,
    keys,
    clocks,
    doFetch,
  };
}
