import type { Sha256 } from '../crypto/provider';
import { equalBytes } from '../encoding';
import { AmeshError } from '../errors/amesh-error';
import { BODY_CODES } from '../errors/codes';
import type { RefusalFacts } from '../errors/define-codes';
import { Fault } from '../errors/fault';

/**
 * Stands between a client and whoever reads a body that is not verified yet. It holds the last chunk back until the
 * digest is right, so that a reader sees the end of a body only if it is the body that was signed.
 */
export interface BodyGate {
  /**
   * @returns what may go on: the chunk before this one, where there is one
   * @throws AmeshError `payload_too_large`
   */
  write(chunk: Uint8Array): Uint8Array | undefined;
  /** Resolves when the last chunk that was written is hashed, and its bytes may change. */
  readonly hashed: unknown;
  /**
   * The client says that this was all.
   *
   * @returns the last chunk; undefined for an empty body. Then the reader may see the end
   * @throws AmeshError `content_digest_mismatch`, or what has become of the device meanwhile
   */
  end(): Promise<Uint8Array | undefined>;
  /** Nobody is told of what goes wrong from now on: the request was answered without its body. */
  abandon(): void;
  /** Ends it for a reason of the transport, told to the log once. The error is for the reader. */
  fail(facts: RefusalFacts, detail?: string): AmeshError;
}

interface Expected {
  /** SHA-256, 32 bytes. */
  readonly digest: Uint8Array;
  readonly hash: Sha256;
  readonly limitBytes: number;
  /** Whether the device may still call: a body can take minutes, and a revocation counts within a second. */
  readonly recheck: () => Promise<Fault | null>;
  readonly onFail: (fault: Fault) => void;
}

export class DigestGate implements BodyGate {
  readonly #expected: Expected;
  #limitBytes: number;
  #length = 0;
  #held: Uint8Array | undefined;
  #error: AmeshError | undefined;
  #isAbandoned = false;
  hashed: unknown;

  constructor(expected: Expected) {
    this.#expected = expected;
    this.#limitBytes = expected.limitBytes;
  }

  /**
   * Another verifier of the same request has a limit too.
   *
   * @returns whether what has come so far is within it
   */
  narrow(limitBytes: number): boolean {
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
    const { hash, digest, recheck } = this.#expected;
    if (!equalBytes(await hash.digest(), digest)) throw this.fail(BODY_CODES.content_digest_mismatch);
    const fault = await recheck();
    if (fault !== null) throw this.#failWith(fault);
    return this.#held;
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

/** The same stream behind a gate: it errors where the gate says no, and never ends then. */
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
