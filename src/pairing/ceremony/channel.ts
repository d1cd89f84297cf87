import { fromBase64Url, toBase64Url, toUtf8 } from '../../core/encoding';
import { type JsonObject, parseObject } from '../../core/strict-json';
import { tampered } from './failure';
import type { KeySchedule } from './key-schedule';
import { lp } from './length-prefix';
import { type Cipher, newCipher } from './suite';

/** The sealed messages. M4 and M7 go to the target, the others to the controller. */
export type SealedType = 'm4' | 'm5' | 'm6' | 'm7' | 'm8';

type Direction = 'c2t' | 't2c';

/** The longest message that a relay forwards. A correct peer sends no longer message. */
const MAX_LENGTH = 8192;

/** Seals what one side sends and opens what it receives. Each direction has its own key and counter. */
export class Channel {
  #sent = 0;
  #received = 0;

  private constructor(
    private readonly th: Uint8Array<ArrayBuffer>,
    private readonly outward: Direction,
    private readonly sealing: Cipher,
    private readonly opening: Cipher,
  ) {}

  static async create(keys: KeySchedule, role: 'controller' | 'target'): Promise<Channel> {
    const [c2t, t2c] = [await newCipher(keys.c2t), await newCipher(keys.t2c)];
    return role === 'controller'
      ? new Channel(keys.th, 'c2t', c2t, t2c)
      : new Channel(keys.th, 't2c', t2c, c2t);
  }

  async seal(type: SealedType, content: object): Promise<string> {
    const counter = this.#sent++;
    const sealed = await this.sealing.seal(
      nonceOf(counter),
      this.#additional(this.outward, type, counter),
      toUtf8(JSON.stringify(content)),
    );
    return toBase64Url(sealed);
  }

  /**
   * @throws PairingError `tampered` for anything except the expected message
   */
  async open(type: SealedType, body: string): Promise<JsonObject> {
    if (typeof body !== 'string' || body.length > MAX_LENGTH) throw tampered();
    const sealed = fromBase64Url(body);
    if (sealed === null) throw tampered();
    const inward = this.outward === 'c2t' ? 't2c' : 'c2t';
    const counter = this.#received;
    const plain = await this.opening.open(nonceOf(counter), this.#additional(inward, type, counter), sealed);
    if (plain === null) throw tampered();
    this.#received++; // counted only after the message was opened
    const content = parseObject(plain);
    if (content === null) throw tampered();
    return content;
  }

  #additional(direction: Direction, type: SealedType, counter: number): Uint8Array<ArrayBuffer> {
    return lp(this.th, direction, type, nonceOf(counter));
  }
}

/** 12 bytes. A key seals only a few messages, so the counter cannot overflow. */
function nonceOf(counter: number): Uint8Array<ArrayBuffer> {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setUint32(8, counter);
  return nonce;
}
