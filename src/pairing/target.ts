import type { Signer } from '../core/crypto/provider';
import { equalBytes, toUtf8 } from '../core/encoding';
import { Channel } from './channel';
import { PairingError, type PairingFailure, tampered } from './failure';
import { type M1, readM1, readM3, writeM2 } from './hello';
import { assertIntroduction, type Introduction, readIntroduction, writeIntroduction } from './introduction';
import { commitment, deriveKeys } from './key-schedule';
import { type Ephemeral, newEphemeral } from './suite';
import { AGREED, type Refusal, readVerdict, refused } from './verdict';

/*
 * The target's side of amesh-pair/1. No sockets, no clock, no disk: events go in, actions come out.
 *
 *   idle        M1               → sends M2
 *   greeted     M3               → (checks the commitment)
 *   revealed    M4               → sends M5, and asks for the code on the controller's screen
 *   typing      typed            → right: asks whether there is room for the controller; wrong: asks again, three in all,
 *                                  then sends M6 as a no; no code at all: asks again, and counts it from the 11th on
 *   verified    admitted yes     → sends M6 (verified); no: sends M6 as a no
 *   waiting     M7 (commit)      → has the controller saved: the only commit point
 *   saving      saved            → sends M8 (done); the end
 *   paired, failed                 nothing more is taken
 */
export type TargetState =
  | 'idle'
  | 'greeted'
  | 'revealed'
  | 'typing'
  | 'verified'
  | 'waiting'
  | 'saving'
  | 'paired'
  | 'failed';

export type TargetEvent =
  | { readonly type: 'message'; readonly body: string }
  | { readonly type: 'typed'; readonly text: string }
  /** Whether the controller is to be taken; false keeps what is there. */
  | { readonly type: 'admitted'; readonly yes: boolean }
  | { readonly type: 'saved' };

export type TargetAction =
  | { readonly type: 'send'; readonly body: string }
  /** Ask for the code on the controller's screen. */
  | { readonly type: 'ask_code' }
  /** The text was wrong. */
  | ({ readonly type: 'again' } & WrongCode)
  /** The text was right: decide whether there is room for this controller, and answer `admitted`. */
  | { readonly type: 'admit'; readonly verificationCode: string; readonly peer: Introduction }
  /** Write the controller into the allow list. */
  | { readonly type: 'save'; readonly peer: Introduction }
  | { readonly type: 'done'; readonly peer: Introduction }
  | { readonly type: 'fail'; readonly failure: PairingFailure };

/** What is known of a text that was typed in place of the code. */
export interface WrongCode {
  /** How many more tries there are. */
  readonly triesLeft: number;
  /** The other code was typed, by which the machines have met. */
  readonly wasPairingCode: boolean;
  /** Whether it has six digits; what has not is a slip, and no try. */
  readonly isCode: boolean;
}

export interface TargetOptions {
  /** The pairing code, six digits. */
  readonly code: string;
  readonly signer: Signer;
  /** What the controller gets to know. */
  readonly own: Introduction;
  /** Default: new ones. For tests with fixed keys. */
  readonly ephemeral?: Ephemeral | undefined;
  /** 32 bytes; default: new ones. For tests with fixed keys. */
  readonly nonce?: Uint8Array | undefined;
}

const TRIES = 3;
/** Slips that cost nothing. They cannot be right, but what types them may be no person. */
const SLIPS = 10;

export class Target {
  #state: TargetState = 'idle';
  readonly #options: TargetOptions;
  #ephemeral: Ephemeral | undefined;
  #m1: M1 | undefined;
  #clear: [string, string] = ['', ''];
  #channel: Channel | undefined;
  #th: Uint8Array<ArrayBuffer> = new Uint8Array();
  #verificationCode = '';
  #tries = 0;
  #slips = 0;
  #peer: Introduction | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** @throws TypeError where the introduction is one that the peer would refuse */
  constructor(options: TargetOptions) {
    assertIntroduction(options.own, 'target', options.signer);
    this.#options = options;
  }

  get state(): TargetState {
    return this.#state;
  }

  /** Takes one event after the other, and gives what is to be done about it. Never throws for what a peer sends. */
  handle(event: TargetEvent): Promise<readonly TargetAction[]> {
    const step = this.#turn.then(() => this.#step(event));
    this.#turn = step.catch(() => {}); // whoever asked for that step is told, and the next one starts afresh
    return step;
  }

  async #step(event: TargetEvent): Promise<readonly TargetAction[]> {
    if (this.#state === 'paired' || this.#state === 'failed') return [];
    try {
      return await this.#next(event);
    } catch (error) {
      this.#state = 'failed';
      if (error instanceof PairingError) return [{ type: 'fail', failure: error.failure }];
      throw error;
    }
  }

  async #next(event: TargetEvent): Promise<readonly TargetAction[]> {
    switch (`${this.#state} ${event.type}`) {
      case 'idle message':
        return this.#greet((event as { body: string }).body);
      case 'greeted message':
        return this.#checkCommitment((event as { body: string }).body);
      case 'revealed message':
        return this.#meet((event as { body: string }).body);
      case 'typing typed':
        return this.#compare((event as { text: string }).text);
      case 'verified admitted':
        if (!(event as { yes: boolean }).yes) return this.#refuse('declined');
        this.#state = 'waiting';
        return [{ type: 'send', body: (await this.#channel?.seal('m6', AGREED)) as string }];
      case 'waiting message':
        readVerdict(await (this.#channel as Channel).open('m7', (event as { body: string }).body));
        this.#state = 'saving';
        return [{ type: 'save', peer: this.#peer as Introduction }];
      case 'saving message':
        return []; // the commit has come, and whatever follows it changes nothing
      case 'saving saved': {
        const body = (await this.#channel?.seal('m8', {})) as string;
        this.#state = 'paired';
        return [
          { type: 'send', body },
          { type: 'done', peer: this.#peer as Introduction },
        ];
      }
      default:
        throw tampered(); // a message when none is due
    }
  }

  async #greet(m1: string): Promise<readonly TargetAction[]> {
    this.#m1 = readM1(m1);
    this.#ephemeral = this.#options.ephemeral ?? (await newEphemeral());
    const nonce = this.#options.nonce ?? crypto.getRandomValues(new Uint8Array(32));
    const m2 = writeM2({ eT: this.#ephemeral.publicKey, nT: nonce });
    this.#clear = [m1, m2];
    this.#state = 'greeted';
    return [{ type: 'send', body: m2 }];
  }

  async #checkCommitment(m3: string): Promise<readonly TargetAction[]> {
    const { eC, nC } = readM3(m3);
    const ephemeral = this.#ephemeral as Ephemeral;
    if (!equalBytes(await commitment(eC, nC), (this.#m1 as M1).com)) throw tampered();
    if (equalBytes(eC, ephemeral.publicKey)) throw tampered(); // our own, sent back
    const z = await ephemeral.agree(eC).catch(() => {
      throw tampered();
    });
    const keys = await deriveKeys(z, this.#options.code, [...this.#clear, m3]);
    this.#th = keys.th;
    this.#verificationCode = keys.verificationCode;
    this.#channel = await Channel.create(keys, 'target');
    this.#state = 'revealed';
    return [];
  }

  async #meet(m4: string): Promise<readonly TargetAction[]> {
    const channel = this.#channel as Channel;
    const peer = await readIntroduction(this.#th, await channel.open('m4', m4), 'controller');
    if (peer.publicKey === this.#options.own.publicKey) throw new PairingError('own_key');
    this.#peer = peer;
    const introduction = await writeIntroduction(this.#th, this.#options.own, this.#options.signer);
    const m5 = await channel.seal('m5', introduction);
    this.#state = 'typing';
    return [{ type: 'send', body: m5 }, { type: 'ask_code' }];
  }

  async #compare(text: string): Promise<readonly TargetAction[]> {
    const digits = text.replace(/[\s-]/g, '');
    if (equalBytes(toUtf8(digits), toUtf8(this.#verificationCode))) {
      this.#state = 'verified';
      return [{ type: 'admit', verificationCode: this.#verificationCode, peer: this.#peer as Introduction }];
    }
    const isCode = /^\d{6}$/.test(digits);
    if (isCode || this.#slips++ >= SLIPS) this.#tries++;
    if (this.#tries >= TRIES) return this.#refuse('codes_differ');
    const wasPairingCode = equalBytes(toUtf8(digits), toUtf8(this.#options.code));
    return [{ type: 'again', triesLeft: TRIES - this.#tries, wasPairingCode, isCode }];
  }

  /** M6 as a no, so that the other side need not guess why nothing comes. */
  async #refuse(why: Refusal): Promise<readonly TargetAction[]> {
    const body = (await this.#channel?.seal('m6', refused(why))) as string;
    this.#state = 'failed';
    return [
      { type: 'send', body },
      { type: 'fail', failure: why },
    ];
  }
}
