import type { CalledTarget } from '../../core/answers/asking';
import type { Signer } from '../../core/crypto/provider';
import type { RotationAnswer } from '../../core/rotation/field';
import { createClient } from '../../core/sign/client';
import type { AnsweredRotation } from '../../core/sign/options';
import type { ClientRefusal } from '../../core/sign/refusal';
import { discard } from '../../core/sign/send';

/** How long a target may take to answer. */
const ANSWER_MS = 30_000;

/** What a target has answered to one request about the next key. */
export interface TargetAnswer {
  /** The HTTP status; null if there was no answer, or if it had to be proven and is not. */
  readonly status: number | null;
  /** What the target says about the next key; null if it says nothing. */
  readonly answer: RotationAnswer | null;
  /** Whether the target has signed that. */
  readonly isProven: boolean;
  /** Why it refused the request; null if it did not. */
  readonly problem: string | null;
}

/** How to ask a target. */
export interface Asking {
  /** The key that signs. */
  readonly signer: Signer;
  /** The target; its `rotation` is the statement for it. */
  readonly called: CalledTarget;
  /** Default `GET`. */
  readonly method?: 'GET' | 'HEAD' | undefined;
  /** `required`: an answer that is not proven is treated as no answer. Default `auto`. */
  readonly answers?: 'auto' | 'required' | undefined;
  /** Sends the request; default the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** How long to wait for the answer, in milliseconds; default 30,000. */
  readonly timeoutMs?: number | undefined;
}

/** Sends a target one request that has no effect, and returns what the target says. Never rejects. */
export async function askTarget(url: URL, asking: Asking): Promise<TargetAnswer> {
  const { signer, called, method = 'GET', answers, fetch, timeoutMs = ANSWER_MS } = asking;
  let answered: AnsweredRotation | undefined;
  let refusal: ClientRefusal | undefined;
  const client = createClient({
    signer,
    targetOf: () => called,
    answers,
    fetch,
    onRotation: (answer) => {
      answered = answer;
    },
    onRefusal: (found) => {
      refusal = found;
    },
  });
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await client.fetch(url, { method, redirect: 'manual', signal });
    await discard(response);
    const { status } = response;
    const { answer = null, isProven = false } = answered ?? {};
    return { status, answer, isProven, problem: refusal === undefined ? null : refusal.detail };
  } catch (error) {
    const late = signal.aborted && new Error(`The target did not answer within ${timeoutMs / 1000} s.`);
    // A program's own fetch may throw anything.
    const { message, cause } = late || (error instanceof Error ? error : new Error(String(error)));
    const why = cause instanceof Error ? `${message} (${cause.message})` : message;
    return { status: null, answer: null, isProven: false, problem: why };
  }
}
