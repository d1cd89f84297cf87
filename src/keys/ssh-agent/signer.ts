import type { Signer } from '../../core/crypto/provider';
import { AmeshError } from '../../core/errors/amesh-error';
import { KEY_CODES } from '../errors/codes';
import { QueueSigner } from '../slow/queue-signer';
import type { Agent } from './agent';
import { MAX_MESSAGE } from './messages';
import { explain } from './problems';
import { fingerprintOf, pointOf } from './public-key';

/** The size of a request to sign without the key and the message, in bytes. */
const FRAME = 1 + 4 + 4 + 4;

/** A signer with a key of an agent. Signatures that are wanted at the same time use one connection, one after the other. */
export class AgentSigner implements Signer {
  readonly publicKey: Uint8Array;

  private constructor(
    private readonly queue: QueueSigner,
    private readonly blob: Uint8Array,
  ) {
    this.publicKey = queue.publicKey;
  }

  /**
   * @param blob the public key, as SSH writes it
   * @throws RangeError if it is not an `ecdsa-sha2-nistp256` key
   */
  static async of(agent: Agent, blob: Uint8Array): Promise<AgentSigner> {
    const publicKey = pointOf(blob);
    if (publicKey === null) throw new RangeError('a key of another kind');
    const queue = await QueueSigner.of({
      publicKey,
      signAll: (next, done) => agent.sign(blob, next, done),
      explain: (error) => explain(error, agent, fingerprintOf(blob)),
    });
    return new AgentSigner(queue, blob);
  }

  /** @throws AmeshError of a key; `key_backend_unavailable` for a message of more than about 256 KiB, which no agent accepts */
  async sign(message: Uint8Array): Promise<Uint8Array> {
    const size = FRAME + this.blob.length + message.length;
    if (size > MAX_MESSAGE)
      throw new AmeshError(
        KEY_CODES.key_backend_unavailable,
        `An SSH agent does not sign ${message.length} bytes at once: a message to it has at most ${MAX_MESSAGE}.`,
        { fix: 'So long a list needs another key backend: see docs/keys.md.' },
      );
    return this.queue.sign(message);
  }
}
