import type { PublicKey, Signer } from '../crypto/provider';
import type { ProvingKey } from '../devices/allow-list';
import type { KeyCache } from '../devices/key-cache';
import { fromBase64Url, toBase64Url } from '../encoding';
import { AnswerUnprovenError } from '../errors/amesh-error';
import { isDeviceId } from '../wire/credentials';
import type { ExpectedAnswer } from './verify-answer';

/**
 * Which responses have to be proven. `auto`: those from a URL that is not https, if the key of the target is known. `required`:
 * all. `off`: none.
 */
export type Answers = 'auto' | 'required' | 'off';

/**
 * The name of an option of `fetch`: `{ [allowUnprovenBody]: true }` lets you read the body of an answer whose target has signed only
 * the head, such as a stream of events. **Nothing proves those bytes**, nor that there are no more. Without it, reading such a
 * body throws `answer_unproven`.
 *
 * @see docs/client.md, "Proven answers"
 */
export const allowUnprovenBody: unique symbol = Symbol('allowUnprovenBody');

/** The options of `fetch`, and those of amesh for one call. */
export interface AmeshFetchInit extends RequestInit {
  /** Whether the response has to be proven; default that of the client. */
  readonly answers?: Answers | undefined;
  /** See {@link allowUnprovenBody}; default false. */
  readonly [allowUnprovenBody]?: boolean | undefined;
}

/** How one call treats answers. */
export interface AnswerOptions {
  readonly answers: Answers;
  readonly allowsUnprovenBody: boolean;
}

/** @throws TypeError for a wrong value */
export function readAnswers(value: unknown): Answers {
  if (value !== 'auto' && value !== 'required' && value !== 'off')
    throw new TypeError('answers must be "auto", "required" or "off".');
  return value;
}

/** @throws TypeError for a wrong value */
export function readAnswerOptions(init: AmeshFetchInit | null | undefined, answers: Answers): AnswerOptions {
  const { answers: own = answers, [allowUnprovenBody]: allowsUnprovenBody = false } = init ?? {};
  if (typeof allowsUnprovenBody !== 'boolean')
    throw new TypeError('allowUnprovenBody must be true or false.');
  return { answers: readAnswers(own), allowsUnprovenBody };
}

/** A target that is called, and how to prove its answers. */
export interface CalledTarget {
  /** `am_` and 16 base64url characters. */
  readonly deviceId: string;
  /** Its public key, whose ID that is: a compressed P-256 point, 33 bytes. */
  readonly publicKey: Uint8Array;
  /** False if it cannot sign answers; default true. */
  readonly proves?: boolean | undefined;
  /** If it has moved to another key: the keys that prove its answers, the present one last. Default: its own key alone. */
  readonly keys?: readonly ProvingKey[] | undefined;
  /** Signs the request; default the signer of the client. During a rotation, a target may know only the former key. */
  readonly signer?: Signer | undefined;
  /**
   * Tells the target the next key: the value of AuthMesh-Rotation in this request, at most 1,024 characters. The target is asked
   * for a proof.
   */
  readonly rotation?: string | undefined;
  /**
   * Called when the target refuses the request as one of an unknown device, over https or loopback.
   *
   * @returns whether another key signs the next request, so that this one is sent again where that is safe
   */
  readonly refused?: (() => boolean) | undefined;
  /**
   * Called when the target accepts a request, if that is proven or came over https or loopback. The target is asked for a proof.
   *
   * @param proof whether the target has signed that
   */
  readonly accepted?: ((proof: 'proven' | 'unproven') => void) | undefined;
  /**
   * Called with the error about an answer that had to be proven and is not; or, over plain http where no proof is asked for, with a
   * response that refuses the request as one of an unknown device.
   */
  readonly unproven?: ((answer: object) => void) | undefined;
}

/** A target, ready to be asked for a proof. */
export interface ProvingTarget
  extends Required<Pick<ExpectedAnswer, 'deviceId' | 'key' | 'publicKey' | 'former'>> {
  /** The ID under which it is called, whatever its key is now. */
  readonly targetId: string;
}

/**
 * The target to ask for a proof; undefined if it cannot give one.
 *
 * @param target what `targetOf()` returned
 * @param nowMs the clock, Unix milliseconds: former keys count until their end
 * @throws TypeError for another value; AllowListIntegrityError if its ID does not match its key
 */
export async function provingTarget(
  target: string | CalledTarget | undefined,
  cache: KeyCache,
  nowMs: number,
): Promise<ProvingTarget | undefined> {
  if (typeof target !== 'object' || target.proves === false) return undefined;
  const { deviceId: targetId, publicKey: first } = target;
  if (!isDeviceId(targetId) || first?.length !== 33)
    throw new TypeError('targetOf() must return an ID, or an object with deviceId and publicKey (33 bytes).');
  const keys = target.keys ?? [{ deviceId: targetId, publicKey: toBase64Url(first) }];
  const { deviceId, publicKey: text } = keys.at(-1) as ProvingKey;
  const key = await cache.keyOf({ deviceId, publicKey: text });
  const former: { deviceId: string; key: PublicKey }[] = [];
  for (const each of keys.slice(0, -1))
    if (nowMs <= (each.until ?? 0) * 1000)
      former.push({ deviceId: each.deviceId, key: await cache.keyOf(each) });
  return {
    targetId,
    deviceId,
    key,
    publicKey: target.keys === undefined ? first : (fromBase64Url(text) as Uint8Array),
    former,
  };
}

/** @returns the error for an answer that has to be proven and cannot be; nothing was sent */
export function cannotProve(url: URL, target: string | CalledTarget | undefined): AnswerUnprovenError {
  return typeof target === 'object'
    ? new AnswerUnprovenError(
        `Nothing was sent: the answer has to be proven, and ${target.deviceId} at ${url.host} does not sign answers.`,
        {},
        "Give that target an answer key (amesh answer-key), or call it without answers: 'required'.",
      )
    : new AnswerUnprovenError(
        `Nothing was sent: the answer has to be proven, and this machine does not know the key of the target at ${url.host}.`,
        {},
        "Pair with it, or call it without answers: 'required'.",
      );
}
