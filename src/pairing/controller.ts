import type { Signer } from '../core/crypto/provider';
import { equalBytes } from '../core/encoding';
import { Channel } from './channel';
import { PairingError, type PairingFailure, tampered } from './failure';
import { readM2, writeM1, writeM3 } from './hello';
import { assertIntroduction, type Introduction, readIntroduction, writeIntroduction } from './introduction';
import { commitment, deriveKeys } from './key-schedule';
import { type Ephemeral, newEphemeral } from './suite';
import { AGREED, readDone, readVerdict, refused } from './verdict';

/*
 * The controller's side of amesh-pair/1. No sockets, no clock, no disk: events go in, actions come out.
 *
 *   idle          start            → sends M1
 *   committed     M2               → sends M3 and M4
 *   introduced    M5               → shows the verification code to its human
 *   showing       M6 (verified)    → asks: does the target say VERIFIED with this code?
 *   asking        answer yes       → has the target saved, unconfirmed; no: sends M7 as a no
 *   saving        saved            → sends M7 (commit)
 *   committing    M8 (done)        → has it confirmed; the end
 *   paired, failed                   nothing more is taken
 *
 * Before `saving` nothing has changed anywhere. In `committing` the target may have written its list or not: the row
 * stays unconfirmed until M8, or until the target answers a request.
 */
export type ControllerState =
  | 'idle'
  | 'committed'
  | 'introduced'
  | 'showing'
  | 'asking'
  | 'saving'
  | 'committing'
  | 'paired'
  | 'failed';

export type ControllerEvent =
  | { readonly type: 'start' }
  | { readonly type: 'message'; readonly body: string }
  | { readonly type: 'answer'; readonly yes: boolean }
  | { readonly type: 'saved' };

export type ControllerAction =
  | { readonly type: 'send'; readonly body: string }
  /** Show it, to be typed at the target, which this is as it says. */
  | { readonly type: 'show'; readonly verificationCode: string; readonly peer: Introduction }
  /** Ask whether the target says VERIFIED with this code. */
  | { readonly type: 'ask'; readonly verificationCode: string; readonly peer: Introduction }
  /** Write the target into the allow list, unconfirmed. */
  | { readonly type: 'save'; readonly peer: Introduction }
  /** The target has it too: confirm the row. */
  | { readonly type: 'confirm'; readonly peer: Introduction }
  /** Nothing has changed, but where the target was saved already: then its row stays, unconfirmed. */
  | { readonly type: 'fail'; readonly failure: PairingFailure; readonly unconfirmed: boolean };

export interface ControllerOptions {
  /** The pairing code, six digits. */
  readonly code: string;
  readonly signer: Signer;
  /** What the target gets to know. */
  readonly own: Introduction;
  /** Default: new ones. For tests with fixed keys. */
  readonly ephemeral?: Ephemeral | undefined;
  /** 32 bytes; default: new ones. For tests with fixed keys. */
  readonly nonce?: Uint8Array | undefined;
}

export class Controller {
  #state: ControllerState = 'idle';
  readonly #options: ControllerOptions;
  #ephemeral: Ephemeral | undefined;
  #nonce: Uint8Array = new Uint8Array();
  #m1 = '';
  #channel: Channel | undefined;
  #th: Uint8Array<ArrayBuffer> = new Uint8Array();
  #verificationCode = '';
  #peer: Introduction | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  /** @throws TypeError where the introduction is one that the peer would refuse */
  constructor(options: ControllerOptions) {
    assertIntroduction(options.own, 'controller', options.signer);
    this.#options = options;
  }

  get state(): ControllerState {
    return this.#state;
  }

  /** Takes one event after the other, and gives what is to be done about it. Never throws for what a peer sends. */
  handle(event: ControllerEvent): Promise<readonly ControllerAction[]> {
    const step = this.#turn.then(() => this.#step(event));
    this.#turn = step.catch(() => {}); // whoever asked for that step is told, and the next one starts afresh
    return step;
  }

  async #step(event: ControllerEvent): Promise<readonly ControllerAction[]> {
    if (this.#state === 'paired' || this.#state === 'failed') return [];
    try {
      return await this.#next(event);
    } catch (error) {
      const unconfirmed = this.#state === 'committing';
      this.#state = 'failed';
      if (error instanceof PairingError) return [{ type: 'fail', failure: error.failure, unconfirmed }];
      throw error;
    }
  }

  async #next(event: ControllerEvent): Promise<readonly ControllerAction[]> {
    switch (`${this.#state} ${event.type}`) {
      case 'idle start':
        return this.#commit();
      case 'committed message':
        return this.#reveal((event as { body: string }).body);
      case 'introduced message':
        return this.#meet((event as { body: string }).body);
      case 'showing message':
        readVerdict(await (this.#channel as Channel).open('m6', (event as { body: string }).body));
        this.#state = 'asking';
        return [{ type: 'ask', verificationCode: this.#verificationCode, peer: this.#peer as Introduction }];
      case 'asking answer':
        if (!(event as { yes: boolean }).yes) return this.#decline();
        this.#state = 'saving';
        return [{ type: 'save', peer: this.#peer as Introduction }];
      case 'saving message':
        return []; // nothing is due before M7, and the answer was given
      case 'saving saved':
        this.#state = 'committing';
        return [{ type: 'send', body: (await this.#channel?.seal('m7', AGREED)) as string }];
      case 'committing message':
        readDone(await (this.#channel as Channel).open('m8', (event as { body: string }).body));
        this.#state = 'paired';
        return [{ type: 'confirm', peer: this.#peer as Introduction }];
      default:
        throw tampered(); // a message when none is due
    }
  }

  /** M1: the commitment comes before anything of the target is known. */
  async #commit(): Promise<readonly ControllerAction[]> {
    this.#ephemeral = this.#options.ephemeral ?? (await newEphemeral());
    this.#nonce = this.#options.nonce ?? crypto.getRandomValues(new Uint8Array(32));
    this.#m1 = writeM1({ com: await commitment(this.#ephemeral.publicKey, this.#nonce) });
    this.#state = 'committed';
    return [{ type: 'send', body: this.#m1 }];
  }

  /** M2 has come: M3 opens the commitment, and M4 introduces us to whoever shares the keys. */
  async #reveal(m2: string): Promise<readonly ControllerAction[]> {
    const { eT } = readM2(m2);
    const ephemeral = this.#ephemeral as Ephemeral;
    if (equalBytes(eT, ephemeral.publicKey)) throw tampered(); // our own, sent back
    const m3 = writeM3({ eC: ephemeral.publicKey, nC: this.#nonce });
    const z = await ephemeral.agree(eT).catch(() => {
      throw tampered();
    });
    const keys = await deriveKeys(z, this.#options.code, [this.#m1, m2, m3]);
    this.#th = keys.th;
    this.#verificationCode = keys.verificationCode;
    this.#channel = await Channel.create(keys, 'controller');
    const introduction = await writeIntroduction(keys.th, this.#options.own, this.#options.signer);
    const m4 = await this.#channel.seal('m4', introduction);
    this.#state = 'introduced';
    return [
      { type: 'send', body: m3 },
      { type: 'send', body: m4 },
    ];
  }

  /** M5: the target introduces itself. */
  async #meet(m5: string): Promise<readonly ControllerAction[]> {
    const content = (await this.#channel?.open('m5', m5)) as Record<string, unknown>;
    const peer = await readIntroduction(this.#th, content, 'target');
    if (peer.publicKey === this.#options.own.publicKey) throw new PairingError('own_key');
    this.#peer = peer;
    this.#state = 'showing';
    return [{ type: 'show', verificationCode: this.#verificationCode, peer }];
  }

  /** M7 as a no, so that the other side need not guess why nothing comes. */
  async #decline(): Promise<readonly ControllerAction[]> {
    const body = (await this.#channel?.seal('m7', refused('declined'))) as string;
    this.#state = 'failed';
    return [
      { type: 'send', body },
      { type: 'fail', failure: 'declined', unconfirmed: false },
    ];
  }
}
