import { generateSigner } from '../crypto/generate-signer';
import type { CryptoProvider, MaybePromise, RequestSigner, Signer } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { toBase64Url } from '../encoding';
import { callSafely } from '../errors/call-safely';
import { periodFrom, signStatement } from './sign-statement';
import type { StatementKind } from './statement';

/** How the keys of one device and kind are made. */
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

/** Not used in its last minute: the clock of a server may be ahead of ours, and a body takes time. */
const MARGIN_MS = 60_000;
/** How long to wait after a failed renewal, while the old key still serves: each attempt may ask a person for a touch. */
const RETRY_MS = 300_000;
/** A clock that goes back by less was only corrected a little. */
const STEP_MS = 2000;
/** How often a refusal renews a working key. A server that refuses everything must not keep the device key busy. */
const REFUSED_EVERY_MS = 3_600_000;

interface WorkingKey {
  readonly signer: RequestSigner;
  /** The moments of its life, Unix milliseconds. It is used from `fromMs` to `untilMs`. */
  readonly fromMs: number;
  readonly madeMs: number;
  readonly untilMs: number;
}

/**
 * A key in memory about which a device signs a statement, and its successors. The first use makes it. After half of its life,
 * a use renews it in the background.
 */
export class RenewedKeys {
  readonly #device: Signer;
  readonly #settings: RenewedKeySettings;
  #current: WorkingKey | undefined;
  /** Making the next one, once for all concurrent callers. */
  #making: Promise<WorkingKey> | undefined;
  #failedMs: number | undefined;
  /** When a refusal last renewed it, and whether another one did since then. */
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
    // Hardware may be slow or wait for a person, and somebody may set the clock meanwhile.
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
      // The clock of the target may be ahead of this one: then it cuts what begins now, but not five minutes later.
      if (this.#isRefusedAgain || isRecent(this.#refusedMs, nowMs, RETRY_MS)) return undefined;
      this.#isRefusedAgain = true;
    }
    // From now on only: what begins earlier was cut with the others.
    return this.#renew(current, 0);
  }

  async #renew({ untilMs }: WorkingKey, backdatedSeconds?: number): Promise<void> {
    if (this.#making !== undefined) return;
    await this.#make(backdatedSeconds).catch((error) => {
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

const ignore = () => {};

/** Whether that was less than `ms` ago. By Math.abs, so that a clock that is set back stops nothing until the old time. */
function isRecent(thenMs: number | undefined, nowMs: number, ms: number): boolean {
  return thenMs !== undefined && Math.abs(nowMs - thenMs) < ms;
}

function isUsable({ fromMs, untilMs }: WorkingKey, nowMs: number): boolean {
  return nowMs >= fromMs && nowMs < untilMs;
}

/** After half of its life, or if the clock was set back to before the key was made. */
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
