import { cryptoProvider } from '#crypto';
import type { MaybePromise, Signer } from '../crypto/provider';
import { type RenewedKeySettings, RenewedKeys } from '../statements/renewed-keys';
import { within } from '../within';
import type { AnswerSigner } from './sign-answer';

/** How long answers wait for an answer key. Hardware takes less, but a key may wait for a person. */
const WAIT_MS = 5000;
/** For this long after a failure, answers do not wait for another attempt: each attempt may ask a person for a touch. */
const PAUSE_MS = 30_000;

export interface AnswerKeyOptions extends Partial<Pick<RenewedKeySettings, 'onRenewalFailure' | 'now'>> {
  /** How long answers wait for the device key, in milliseconds; default 5,000. */
  readonly waitMs?: number | undefined;
}

/**
 * The answer key of a device whose own key is slow to sign: a key in memory, about which the device key signs a statement for
 * two hours. The first answer makes it. After half of its life, an answer renews it in the background.
 *
 * @returns supplies the key; rejects while there is none, without a long wait
 * @see docs/protocol.md, "Proven answers"
 */
export function answerKeyOf(
  device: Signer,
  options: AnswerKeyOptions = {},
): () => MaybePromise<AnswerSigner> {
  const { onRenewalFailure, now = Date.now, waitMs = WAIT_MS } = options;
  const settings = {
    kind: 'answer',
    lifetimeSeconds: 7200,
    onRenewalFailure,
    crypto: cryptoProvider,
    now,
  } as const;
  const keys = new RenewedKeys(device, settings);
  let failure: { readonly error: unknown; readonly atMs: number } | undefined;
  let late: Error | undefined;

  async function wait(making: Promise<AnswerSigner>): Promise<AnswerSigner> {
    making.then(
      () => {
        failure = late = undefined;
      },
      (error) => {
        failure = { error, atMs: now() };
        late = undefined;
      },
    );
    return within(
      waitMs,
      () => making,
      () => {
        late = new Error(
          `The device key has not signed the statement about an answer key within ${waitMs / 1000} s. If it requires a touch or a PIN, provide it.`,
        );
        return late;
      },
    );
  }

  return () => {
    if (late !== undefined) return Promise.reject(late);
    if (failure !== undefined && Math.abs(now() - failure.atMs) < PAUSE_MS)
      return Promise.reject(failure.error);
    const current = keys.current();
    return current instanceof Promise ? wait(current) : current;
  };
}
