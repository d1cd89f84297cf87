import type { MaybePromise, VerifyingCrypto } from '../crypto/provider';
import { answerNonce } from './answer';
import { type AnswerSigner, signAnswer, type UnsignedAnswer } from './sign-answer';

/** Signs the answer to one request that asked for that, and whose nonce is claimed. */
export interface AnswerProof {
  /** The largest body to hold back so that it can be signed, in bytes. A larger one is a stream. */
  readonly maxAnswerBytes: number;
  /**
   * Signs an answer that is about to be sent.
   *
   * @returns the headers to set on it, by lower-case name; null if the signer failed, which is logged: send it without
   */
  sign(answer: UnsignedAnswer): Promise<Record<string, string> | null>;
}

/** What all proofs of a verifier share. */
export interface ProofSettings {
  /** Undefined where there is no key for answers. */
  readonly signer: () => MaybePromise<AnswerSigner | undefined>;
  readonly maxAnswerBytes: number;
  readonly crypto: Pick<VerifyingCrypto, 'sha256'>;
  readonly now: () => number;
  readonly onFailure: (error: unknown) => void;
}

/** The proof of the answer to a request whose signature is right. */
export function createProof(
  { signer, maxAnswerBytes, crypto, now, onFailure }: ProofSettings,
  request: { readonly method: string; readonly base: string; readonly signature: Uint8Array },
): AnswerProof {
  return {
    maxAnswerBytes,
    async sign(answer) {
      try {
        const key = await signer();
        if (key === undefined) return null;
        const { method, base, signature } = request;
        const nonce = await answerNonce(base, signature, crypto);
        return await signAnswer(answer, { method, nonce }, key, Math.floor(now() / 1000), crypto);
      } catch (error) {
        onFailure(error);
        return null;
      }
    },
  };
}
