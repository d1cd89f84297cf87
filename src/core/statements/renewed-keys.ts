import { generateSigner } from '../crypto/generate-signer';
import type { CryptoProvider, MaybePromise, RequestSigner, Signer } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { toBase64Url } from '../encoding';
import { callSafely } from '../errors/call-safely';
import { periodFrom, signStatement } from './sign-statement';
import type { StatementKind } from './statement';

/** How to make the keys of one device and kind. */
export interface RenewedKeySettings {
  /** What the keys sign. */
  readonly kind: StatementKind;
  /** How long a key lasts, in seconds. It is renewed after half of that. */
  readonly lifetimeSeconds: number;
  /** Called when a key cannot be renewed. The old one still serves until `untilMs`, Unix milliseconds. */
  readonly onRenewalFailure?: ((error: unknown, untilMs: number) => void) | undefined;
  readonly crypto: CryptoProvider;
  /** Unix milliseconds. */
  readonly now: () => number;
}

/** A key is not used in its last minute: the clock of a server may be ahead of ours, and sending a body takes time. */
const MARGIN_MS = 60_000;
/** How long to wait after a failed renewal, while the old key still serves: each attempt may ask a person for a touch. */
const RETRY_MS = 300_000;
/** If a clock goes back by less, it was only corrected a little. */
const STEP_MS = 2000;
/** How often a refusal renews a working key. A server that refuses everything must not keep the device key busy. */
const REFUSED_EVERY_MS = 3_600_000;

interface WorkingKey {
  readonly signer: RequestSigner;
  /** When the key is used, Unix milliseconds. It is used from `fromMs` to `untilMs`. */
  readonly fromMs: number;
  readonly madeMs: number;
  readonly untilMs: number;
}

/**
 * A key in memory about which the device signs a statement, and the keys that follow it. The first use makes the key. After half of
 * its life, the next use renews it in the background.
 */
export class RenewedKeys {
  readonly #device: Signer;
  readonly #settings: RenewedKeySettings;
  #current: WorkingKey | undefined;
  /** The next key while it is made, once for all concurrent callers. */
  #making: Promise<WorkingKey> | undefined;
  #failedMs: number | undefined;
  /** When a refusal renewed the key, and whether a second one did so within an hour. */
  #refusedMs: number | undefined;
  #isRefusedAgain = false;

  constructor(device: Signer, settings: RenewedKeySettings) {
    this.#device = device;
    this.#settings = settings;
  }

  current(): MaybePromise<RequestSigner> {
    const nowMs = this.#settings.now();
    const current = this.#current;
    if (current === undefined || !isUsable(current, nowMs)) return this.#next();
    if (isDue(current, nowMs, this.#settings) && !this.#hasJustFailed(nowMs)) void this.#renew(current);
    return current.signer;
  }

  async #next(): Promise<RequestSigner> {
    const made = await this.#make();
    // Hardware may be slow or wait for a person, and somebody may set the clock in that time.
    return (isUsable(made, this.#settings.now()) ? made : await this.#make()).signer;
  }

  /** @returns a promise if another key follows, or has followed already */
  #refused(statement: string): Promise<void> | undefined {
    const nowMs = this.#settings.now();
    const current = this.#current;
    if (this.#making !== undefined) return this.#making.then(ignore, ignore);
    if (current?.signer.statement !== statement) return Promise.resolve();
    if (this.#hasJustFailed(nowMs)) return undefined;
    if (!isRecent(this.#refusedMs, nowMs, REFUSED_EVERY_MS)) {
      this.#refusedMs = nowMs;
      this.#isRefusedAgain = false;
    } else {
      // If the clock of the target is ahead of this one, it cuts off a key that begins now, but not one that begins five minutes
      // later.
      if (this.#isRefusedAgain || isRecent(this.#refusedMs, nowMs, RETRY_MS)) return undefined;
      this.#isRefusedAgain = true;
    }
    // The new key begins now, without backdating: the target has cut off what begins earlier.
    return this.#renew(current, 0);
  }

  async #renew({ untilMs }: WorkingKey, backdatedSeconds?: number): Promise<void> {
    if (this.#making !== undefined) return;
    await this.#make(backdatedSeconds).catch((error) => {
      this.#failedMs = this.#settings.now();
      this.#refusedMs = undefined; // that refusal renewed nothing
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

const ignore = () => {};

/** Whether that was less than `ms` ago. Math.abs, so that nothing stops until the old time after the clock was set back. */
function isRecent(thenMs: number | undefined, nowMs: number, ms: number): boolean {
  return thenMs !== undefined && Math.abs(nowMs - thenMs) < ms;
}

function isUsable({ fromMs, untilMs }: WorkingKey, nowMs: number): boolean {
  return nowMs >= fromMs && nowMs < untilMs;
}

/** Whether half of the key's life is over, or the clock was set back to a time before the key was made. */
function isDue({ madeMs }: WorkingKey, nowMs: number, { lifetimeSeconds }: RenewedKeySettings): boolean {
  return nowMs >= madeMs + lifetimeSeconds * 500 || nowMs < madeMs - STEP_MS;
}

async function makeWorkingKey(
  device: Signer,
  settings: RenewedKeySettings,
  refused: (statement: string) => Promise<void> | undefined,
  backdatedSeconds?: number,
): Promise<WorkingKey> {
  const { kind, crypto, lifetimeSeconds } = settings;
  const { signer: key, x, y } = await generateSigner(crypto);
  const deviceId = await deviceIdOf(device.publicKey, crypto);
  const madeMs = settings.now();
  const { issuedAt, expiresAt } = periodFrom(kind, madeMs, lifetimeSeconds, backdatedSeconds);
  const id = toBase64Url(crypto.randomBytes(16));
  const statement = await signStatement({ kind, deviceId, x, y, issuedAt, expiresAt, id }, device);
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
