import type { Sha256 } from '../crypto/provider';
import { equalBytes } from '../encoding';
import { AmeshError } from '../errors/amesh-error';
import { BODY_CODES } from '../errors/codes';
import type { RefusalFacts } from '../errors/define-codes';
import { Fault } from '../errors/fault';

/**
 * Stands between a client and the reader of an unverified body. It withholds the last chunk until the digest is verified,
 * so that a reader sees the end of a body only if it is the signed one.
 */
export interface BodyGate {
  /**
   * @returns the previous chunk, which may now be read; undefined if there is none
   * @throws AmeshError `payload_too_large`
   */
  write(chunk: Uint8Array): Uint8Array | undefined;
  /** Resolves when the last written chunk is hashed and its bytes may change. */
  readonly hashed: unknown;
  /**
   * Called at the end of the client's body.
   *
   * @returns the last chunk, after which the reader may see the end; undefined for an empty body
   * @throws AmeshError `content_digest_mismatch`, or the fault of a device that was revoked or lost a scope in the meantime
   */
  end(): Promise<Uint8Array | undefined>;
  /** Stops reporting faults: the request was answered without its body. */
  abandon(): void;
  /** Fails the body because of the transport, and logs that once. @returns the error for the reader */
  fail(facts: RefusalFacts, detail?: string): AmeshError;
}

/** Checks whether the device may still call: a body can take minutes, and a revocation takes effect within a second. */
type Recheck = () => Promise<Fault | null>;

interface Expected {
  /** SHA-256, 32 bytes. */
  readonly digest: Uint8Array;
  readonly hash: Sha256;
  readonly limitBytes: number;
  readonly recheck: Recheck;
  readonly onFail: (fault: Fault) => void;
}

export class DigestGate implements BodyGate {
  readonly #expected: Expected;
  #limitBytes: number;
  #recheck: Recheck;
  #length = 0;
  #held: Uint8Array | undefined;
  #error: AmeshError | undefined;
  #isAbandoned = false;
  #isVerified = false;
  hashed: unknown;

  constructor(expected: Expected) {
    this.#expected = expected;
    this.#limitBytes = expected.limitBytes;
    this.#recheck = expected.recheck;
  }

  /**
   * Applies the limit of another verifier of the same request, and its check at the end.
   *
   * @returns whether the bytes so far are within the limit
   */
  join(limitBytes: number, recheck: Recheck): boolean {
    const before = this.#recheck;
    this.#recheck = async () => (await before()) ?? recheck();
    this.#limitBytes = Math.min(this.#limitBytes, limitBytes);
    return this.#length <= this.#limitBytes;
  }

  write(chunk: Uint8Array): Uint8Array | undefined {
    if (this.#error !== undefined) throw this.#error;
    if (chunk.length === 0) return undefined;
    this.#length += chunk.length;
    if (this.#length > this.#limitBytes)
      throw this.fail(BODY_CODES.payload_too_large, `The body is larger than ${this.#limitBytes} bytes.`);
    this.hashed = this.#expected.hash.update(chunk);
    const before = this.#held;
    this.#held = chunk;
    return before;
  }

  async end(): Promise<Uint8Array | undefined> {
    if (this.#error !== undefined) throw this.#error;
    const { hash, digest } = this.#expected;
    if (!equalBytes(await hash.digest(), digest)) throw this.fail(BODY_CODES.content_digest_mismatch);
    const fault = await this.#recheck();
    if (fault !== null) throw this.#failWith(fault);
    this.#isVerified = true;
    return this.#held;
  }

  /** Whether all of the body has arrived and is the signed one. */
  get isVerified(): boolean {
    return this.#isVerified;
  }

  abandon(): void {
    this.#isAbandoned = true;
  }

  fail(facts: RefusalFacts, detail?: string): AmeshError {
    return this.#failWith(new Fault(facts, detail));
  }

  #failWith(fault: Fault): AmeshError {
    if (this.#error !== undefined) return this.#error;
    this.#held = undefined;
    this.#error = new AmeshError(fault.facts, fault.detail, fault.advice);
    if (!this.#isAbandoned) this.#expected.onFail(fault);
    return this.#error;
  }
}

/** The stream behind a gate: it ends with an error, never normally, if the gate refuses the body. */
export function gateStream(
  stream: ReadableStream<Uint8Array>,
  gate: BodyGate,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = stream.getReader();
  return new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      async pull(controller) {
        for (;;) {
          const { done, value } = await reader.read().catch((reason) => {
            gate.fail(BODY_CODES.body_incomplete);
            throw reason;
          });
          const chunk = done ? await gate.end() : gate.write(value);
          await gate.hashed;
          if (chunk !== undefined) controller.enqueue(chunk as Uint8Array<ArrayBuffer>);
          if (done) controller.close();
          if (done || chunk !== undefined) return;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
