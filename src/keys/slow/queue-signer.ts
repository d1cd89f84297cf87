import { cryptoProvider } from '#crypto';
import type { PublicKey, Signer } from '../../core/crypto/provider';

interface Wanted {
  readonly message: Uint8Array;
  resolve(signature: Uint8Array): void;
  reject(error: Error): void;
}

/** Turns a failure into an error that says what a person can do about it. */
export type Explain = (error: unknown) => Promise<Error>;

/** The error that `explain` makes of a failure; the failure itself if `explain` fails, too, since somebody waits for the result. */
export async function explained(error: unknown, explain: Explain): Promise<Error> {
  try {
    return await explain(error);
  } catch {
    return error as Error;
  }
}

/** A key outside this process. */
export interface SlowKey {
  /** A compressed point, 33 bytes. */
  readonly publicKey: Uint8Array;
  /**
   * Signs one message after the other.
   *
   * @param next returns the next message; undefined if there are no more
   * @param done receives its signature: r‖s, 64 bytes
   */
  signAll(next: () => Uint8Array | undefined, done: (signature: Uint8Array) => Promise<void>): Promise<void>;
  /** Turns an error of `signAll`, or of the check of a signature, into the error that the caller gets. */
  readonly explain: Explain;
}

/**
 * A signer with a key that signs one message at a time. If a signature fails, all waiting ones fail with it: a person who has
 * refused one is not asked for the others.
 */
export class QueueSigner implements Signer {
  readonly publicKey: Uint8Array;
  readonly #waiting: Wanted[] = [];
  #isSigning = false;

  private constructor(
    private readonly key: SlowKey,
    private readonly verifier: PublicKey,
  ) {
    this.publicKey = key.publicKey;
  }

  /** @throws what the provider throws for an invalid public key */
  static async of(key: SlowKey): Promise<QueueSigner> {
    return new QueueSigner(key, await cryptoProvider.importPublicKey(key.publicKey));
  }

  /** @throws the error that {@link SlowKey.explain} makes */
  async sign(message: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ message: new Uint8Array(message), resolve, reject });
      void this.#signAll();
    });
  }

  async #signAll(): Promise<void> {
    if (this.#isSigning) return;
    this.#isSigning = true;
    while (this.#waiting.length > 0) {
      try {
        await this.key.signAll(
          () => this.#waiting[0]?.message,
          (signature) => this.#give(signature),
        );
      } catch (error) {
        const failed = this.#waiting.splice(0);
        const reason = await explained(error, this.key.explain);
        for (const { reject } of failed) reject(reason);
      }
    }
    this.#isSigning = false;
  }

  /** Returns a signature only if it is right. Otherwise its recipient would be the first to notice. */
  async #give(signature: Uint8Array): Promise<void> {
    const { message, resolve } = this.#waiting[0] as Wanted;
    if (!(await this.verifier.verify(signature, message)))
      throw new RangeError('a signature that is not one of this key');
    this.#waiting.shift();
    resolve(signature);
  }
}
