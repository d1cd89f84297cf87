import { andThen } from '../and-then';
import type { MaybePromise, VerifyingCrypto } from '../crypto/provider';
import { type AnswerSigner, signAnswer, type UnsignedAnswer } from './sign-answer';
import { type MovedList, successionFor } from './succession';

/** Signs the answer to one request that asked for a proof, and whose nonce is claimed. */
export interface AnswerProof {
  /** The largest body to buffer so that it can be signed, in bytes. A larger one is a stream. */
  readonly maxAnswerBytes: number;
  /**
   * Signs an answer that is about to be sent.
   *
   * @returns the headers to set on it, by lower-case name; null if it cannot be signed: the signer failed, which is logged, or the
   *   body of the request is a stream that is not verified yet. Then send the answer without them
   */
  sign(answer: UnsignedAnswer): MaybePromise<Record<string, string> | null>;
}

/** What all proofs of a verifier share. */
export interface ProofSettings {
  /** Supplies undefined if there is no key for answers. */
  readonly signer: () => MaybePromise<AnswerSigner | undefined>;
  readonly maxAnswerBytes: number;
  readonly crypto: Pick<VerifyingCrypto, 'sha256' | 'importPublicKey'>;
  readonly now: () => number;
  readonly onFailure: (error: unknown) => void;
}

/** The proof of the answer to a request whose signature is right. */
export function createProof(
  { signer, maxAnswerBytes, crypto, now, onFailure }: ProofSettings,
  request: {
    readonly method: string;
    /** Binds the answer to the request, 43 characters: see `answerNonce()`. */
    readonly nonce: () => MaybePromise<string>;
    /** The target ID that the request names, if it names one. */
    readonly named?: string | undefined;
    /** The verifier's list, which says whether the target has moved to another key. */
    readonly list: MovedList;
    /** Of a body that handlers read before it is verified. */
    readonly gate?: { readonly isVerified: boolean } | undefined;
  },
): AnswerProof {
  // Now, while the text of the request is in the caches of the processor: later it takes twice as long.
  const nonce = early(request.nonce);
  return {
    maxAnswerBytes,
    sign(answer) {
      if (request.gate?.isVerified === false) return null; // it may answer what the caller has never sent
      try {
        const signed = andThen(signer(), (key) => (key === undefined ? null : signWith(key, answer)));
        return signed instanceof Promise ? signed.catch(failed) : signed;
      } catch (error) {
        return failed(error);
      }
    },
  };

  function signWith(key: AnswerSigner, answer: UnsignedAnswer): MaybePromise<Record<string, string>> {
    const { method, named, list } = request;
    const nowMs = now();
    const about = { signerId: key.deviceId, named, nowMs };
    const succession = list.succession === undefined ? undefined : successionFor(list, about, crypto);
    return andThen(succession, (statement) =>
      andThen(nonce, (nonce) => {
        const signing = statement === undefined ? key : withSuccession(key, statement);
        return signAnswer(answer, { method, nonce }, signing, Math.floor(nowMs / 1000), crypto);
      }),
    );
  }

  function failed(error: unknown): null {
    onFailure(error);
    return null;
  }
}

/** Does work whose result or error is needed later, if at all. */
function early<T>(work: () => MaybePromise<T>): MaybePromise<T> {
  try {
    const done = work();
    if (done instanceof Promise) done.catch(() => {});
    return done;
  } catch (error) {
    const failed = Promise.reject(error);
    failed.catch(() => {});
    return failed;
  }
}

function withSuccession(key: AnswerSigner, succession: string): AnswerSigner {
  const { deviceId, statement } = key;
  return { deviceId, statement, succession, sign: (message) => key.sign(message) };
}
