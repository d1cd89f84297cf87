import { cryptoProvider } from '#crypto';
import type {
  CryptoProvider,
  GeneratedSigner,
  MaybePromise,
  RequestSigner,
  Signer,
} from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { toBase64Url } from '../encoding';
import { callSafely } from '../errors/call-safely';
import { assertOptionNames, isWithin } from '../options';
import { periodFrom, signStatement } from './sign-statement';
import { STATEMENT_LIMITS } from './statement';

/** How to make working keys. Every option is optional; a wrong one is a TypeError. */
export interface WorkingKeyOptions {
  /**
   * How long a working key lasts, in seconds, from 120 to 86,100; default 7,200. It is renewed after half of that, so with
   * the default the device key signs at most once an hour.
   */
  readonly lifetimeSeconds?: number | undefined;
  /**
   * Called when a working key cannot be renewed, at most every five minutes. The old one still serves until `untilMs`, Unix
   * milliseconds.
   */
  readonly onRenewalFailure?: ((error: unknown, untilMs: number) => void) | undefined;
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

const NAMES: ReadonlySet<string> = new Set<keyof WorkingKeyOptions>([
  'lifetimeSeconds',
  'onRenewalFailure',
  'crypto',
  'now',
]);

/** Not used in its last minute: the clock of a server may be ahead of ours, and a body takes time. */
const MARGIN_MS = 60_000;
/** How long to wait after a failed renewal, while the old key still serves: each attempt may ask a person for a touch. */
const RETRY_MS = 300_000;
/** A clock that goes back by less was only corrected a little. */
const STEP_MS = 2000;
/** How often a refusal renews a working key. A server that refuses everything must not keep the device key busy. */
const REFUSED_EVERY_MS = 3_600_000;

/**
 * A signer that signs requests with a working key: a key in memory, about which the device key signs a statement. For device
 * keys that are slow to sign, such as keys in hardware. Everything other than requests is signed by the device key itself.
 *
 * The first request makes the working key. After half of its life, a request renews it in the background. So does a server that
 * refuses it, at most twice an hour: the target may have cut what the device has signed.
 *
 * @param signer signs with the device key
 * @throws TypeError for a wrong option
 * @see docs/protocol.md, "Working keys"
 */
export function withWorkingKey(signer: Signer, options: WorkingKeyOptions = {}): Signer {
  if (typeof signer?.sign !== 'function' || signer.publicKey?.length !== 33)
    throw new TypeError('withWorkingKey() needs a signer.');
  const keys = new WorkingKeys(signer, readOptions(options));
  return {
    publicKey: signer.publicKey,
    sign: (message) => signer.sign(message),
    requestSigner: () => keys.current(),
  };
}

type Settings = ReturnType<typeof readOptions>;

function readOptions(options: WorkingKeyOptions) {
  assertOptionNames('withWorkingKey()', options, NAMES);
  const { lifetimeSeconds = 7200, onRenewalFailure, crypto = cryptoProvider, now = Date.now } = options;
  const longest = STATEMENT_LIMITS.requestSeconds - STATEMENT_LIMITS.backdatedSeconds;
  if (!Number.isInteger(lifetimeSeconds) || !isWithin(lifetimeSeconds, 120, longest))
    throw new TypeError(`lifetimeSeconds is a whole number of seconds from 120 to ${longest}.`);
  if (onRenewalFailure !== undefined && typeof onRenewalFailure !== 'function')
    throw new TypeError('onRenewalFailure must be a function.');
  if (typeof crypto.generatePrivateKey !== 'function')
    throw new TypeError('crypto must be a CryptoProvider.');
  if (typeof now !== 'function') throw new TypeError('now must be a function.');
  return { lifetimeSeconds, onRenewalFailure, crypto, now };
}

interface WorkingKey {
  readonly signer: RequestSigner;
  /** The moments of its life, Unix milliseconds. It is used from `fromMs` to `untilMs`. */
  readonly fromMs: number;
  readonly madeMs: number;
  readonly untilMs: number;
}

class WorkingKeys {
  readonly #device: Signer;
  readonly #settings: Settings;
  #current: WorkingKey | undefined;
  /** Making the next one, once for all concurrent callers. */
  #making: Promise<WorkingKey> | undefined;
  #failedMs: number | undefined;
  /** When a refusal last renewed it, and whether another one did since then. */
  #refusedMs: number | undefined;
  #isRefusedAgain = false;

  constructor(device: Signer, settings: Settings) {
    this.#device = device;
    this.#settings = settings;
  }

  current(): MaybePromise<RequestSigner> {
    const nowMs = this.#settings.now();
    const current = this.#current;
    if (current === undefined || !isUsable(current, nowMs)) return this.#next();
    if (isDue(current, nowMs, this.#settings) && !this.#hasJustFailed(nowMs)) this.#renew(current);
    return current.signer;
  }

  async #next(): Promise<RequestSigner> {
    const made = await this.#make();
    // Hardware may be slow or wait for a person, and somebody may set the clock meanwhile.
    return (isUsable(made, this.#settings.now()) ? made : await this.#make()).signer;
  }

  #refused(statement: string): void {
    const nowMs = this.#settings.now();
    const current = this.#current;
    if (current?.signer.statement !== statement || this.#making !== undefined || this.#hasJustFailed(nowMs))
      return;
    if (!isRecent(this.#refusedMs, nowMs, REFUSED_EVERY_MS)) {
      this.#refusedMs = nowMs;
      this.#isRefusedAgain = false;
    } else {
      // The clock of the target may be ahead of this one: then it cuts what begins now, but not five minutes later.
      if (this.#isRefusedAgain || isRecent(this.#refusedMs, nowMs, RETRY_MS)) return;
      this.#isRefusedAgain = true;
    }
    // From now on only: what begins earlier was cut with the others.
    this.#renew(current, 0);
  }

  #renew({ untilMs }: WorkingKey, backdatedSeconds?: number): void {
    if (this.#making !== undefined) return;
    this.#make(backdatedSeconds).catch((error) => {
      this.#failedMs = this.#settings.now();
      this.#refusedMs = undefined; // nothing came of it
      const { onRenewalFailure } = this.#settings;
      if (onRenewalFailure !== undefined)
        callSafely(() => onRenewalFailure(error, untilMs), 'onRenewalFailure');
    });
  }

  #make(backdatedSeconds?: number): Promise<WorkingKey> {
    const refused = (statement: string) => this.#refused(statement);
    this.#making ??= makeWorkingKey(this.#device, this.#settings, refused, backdatedSeconds)
      .then((made) => {
        this.#current = made;
        this.#failedMs = undefined;
        return made;
      })
      .finally(() => {
        this.#making = undefined;
      });
    return this.#making;
  }

  #hasJustFailed(nowMs: number): boolean {
    return isRecent(this.#failedMs, nowMs, RETRY_MS);
  }
}

/** Whether that was less than `ms` ago. By Math.abs, so that a clock that is set back stops nothing until the old time. */
function isRecent(thenMs: number | undefined, nowMs: number, ms: number): boolean {
  return thenMs !== undefined && Math.abs(nowMs - thenMs) < ms;
}

function isUsable({ fromMs, untilMs }: WorkingKey, nowMs: number): boolean {
  return nowMs >= fromMs && nowMs < untilMs;
}

/** After half of its life, or if the clock was set back to before the key was made. */
function isDue({ madeMs }: WorkingKey, nowMs: number, { lifetimeSeconds }: Settings): boolean {
  return nowMs >= madeMs + lifetimeSeconds * 500 || nowMs < madeMs - STEP_MS;
}

async function makeWorkingKey(
  device: Signer,
  settings: Settings,
  refused: (statement: string) => void,
  backdatedSeconds?: number,
): Promise<WorkingKey> {
  const { crypto, lifetimeSeconds } = settings;
  const { signer: key, x, y } = await (crypto.generateSigner?.() ?? generateSigner(crypto));
  const deviceId = await deviceIdOf(device.publicKey, crypto);
  const madeMs = settings.now();
  const { issuedAt, expiresAt } = periodFrom(madeMs, lifetimeSeconds, backdatedSeconds);
  const id = toBase64Url(crypto.randomBytes(16));
  const statement = await signStatement({ kind: 'request', deviceId, x, y, issuedAt, expiresAt, id }, device);
  return {
    signer: {
      publicKey: key.publicKey,
      sign: (message) => key.sign(message),
      deviceId,
      statement,
      refused: () => refused(statement),
    },
    fromMs: issuedAt * 1000 - STEP_MS,
    madeMs,
    untilMs: expiresAt * 1000 - MARGIN_MS,
  };
}

async function generateSigner(crypto: CryptoProvider): Promise<GeneratedSigner> {
  const jwk = await crypto.generatePrivateKey();
  return { signer: await crypto.importPrivateKey(jwk), x: jwk.x, y: jwk.y };
}
