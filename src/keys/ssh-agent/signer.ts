import { cryptoProvider } from '#crypto';
import type { PublicKey, Signer } from '../../core/crypto/provider';
import { AmeshError } from '../../core/errors/amesh-error';
import { KEY_CODES } from '../errors/codes';
import type { Agent } from './agent';
import { MAX_MESSAGE } from './messages';
import { explain } from './problems';
import { fingerprintOf, pointOf } from './public-key';

/** What a request to sign has besides the key and the message, in bytes. */
const FRAME = 1 + 4 + 4 + 4;

interface Wanted {
  readonly message: Uint8Array;
  resolve(signature: Uint8Array): void;
  reject(error: Error): void;
}

/**
 * A signer with a key of an agent. Signatures that are wanted at once follow each other over one connection. If one of them
 * fails, all that wait fail with it: a person who has refused one is not asked for the others.
 */
export class AgentSigner implements Signer {
  readonly #waiting: Wanted[] = [];
  #isSigning = false;

  private constructor(
    private readonly agent: Agent,
    private readonly blob: Uint8Array,
    readonly publicKey: Uint8Array,
    private readonly verifier: PublicKey,
  ) {}

  /**
   * @param blob the public key, as SSH writes it
   * @throws RangeError if it is not an `ecdsa-sha2-nistp256` key
   */
  static async of(agent: Agent, blob: Uint8Array): Promise<AgentSigner> {
    const point = pointOf(blob);
    if (point === null) throw new RangeError('a key of another kind');
    return new AgentSigner(agent, blob, point, await cryptoProvider.importPublicKey(point));
  }

  /** @throws AmeshError of a key; `key_backend_unavailable` for more than about 256 KiB, which no agent takes */
  async sign(message: Uint8Array): Promise<Uint8Array> {
    const size = FRAME + this.blob.length + message.length;
    if (size > MAX_MESSAGE)
      throw new AmeshError(
        KEY_CODES.key_backend_unavailable,
        `An SSH agent does not sign ${message.length} bytes at once: a message to it has at most ${MAX_MESSAGE}.`,
        { fix: 'So long a list needs another key backend: see docs/keys.md.' },
      );
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
        await this.agent.sign(
          this.blob,
          () => this.#waiting[0]?.message,
          (signature) => this.#give(signature),
        );
      } catch (error) {
        const failed = this.#waiting.splice(0);
        const reason = await explain(error, this.agent, fingerprintOf(this.blob));
        for (const { reject } of failed) reject(reason);
      }
    }
    this.#isSigning = false;
  }

  /** Only what this key has signed: an agent that mixes up its keys would be noticed only by others, as a wrong signature. */
  async #give(signature: Uint8Array): Promise<void> {
    const { message, resolve } = this.#waiting[0] as Wanted;
    if (!(await this.verifier.verify(signature, message)))
      throw new RangeError('a signature that is not one of this key');
    this.#waiting.shift();
    resolve(signature);
  }
}
