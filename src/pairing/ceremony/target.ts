import { equalBytes, toUtf8 } from '../../core/encoding';
import { PairingError, type PairingFailure, tampered } from './failure';
import { assertIntroduction, type Introduction, readIntroduction, writeIntroduction } from './introduction';
import { agreeOnKeys, type KeyShare, newKeyShare, type SharedSecrets } from './key-agreement';
import { readM1, readM3, writeM2 } from './key-exchange';
import { commitment } from './key-schedule';
import type { Met, SideOptions } from './side';
import { type Ended, StateMachine, type Step } from './state-machine';
import { AGREED, type Refusal, readVerdict, refused } from './verdict';

/*
 * The target's side of amesh-pair/1. It uses no sockets, clock or disk: events go in, actions come out.
 *
 *   state       event                action                                                        next state
 *   idle        message M1           send M2                                                       greeted
 *   greeted     message M3           none: it opens the commitment                                 revealed
 *   revealed    message M4           send M5, ask for the code on the controller's screen          typing
 *   typing      typed, right         ask whether there is room for the controller                  verified
 *   typing      typed, wrong         ask again: 3 tries in all; 10 texts that are not codes are free  typing
 *   typing      typed, the 3rd try   send M6 (no), fail                                            failed
 *   verified    admitted yes         send M6 (verified)                                            waiting
 *   verified    admitted no          send M6 (no), fail                                            failed
 *   waiting     message M7 (commit)  save the controller: the only commit point                    saving
 *   saving      message              none: after the commit, no message changes anything           saving
 *   saving      saved                send M8 (done)                                                paired
 *
 * Any other event, and any unexpected message, fails. `paired` and `failed` ignore all events.
 */
export type TargetState =
  | { readonly name: 'idle' }
  | {
      readonly name: 'greeted';
      readonly share: KeyShare;
      /** The commitment in M1, 32 bytes. */
      readonly com: Uint8Array;
      readonly m1: string;
      readonly m2: string;
    }
  | ({ readonly name: 'revealed' } & SharedSecrets)
  | ({
      readonly name: 'typing';
      readonly verificationCode: string;
      /** The number of wrong codes. */
      readonly tries: number;
      /** The number of texts that were not codes. */
      readonly slips: number;
    } & Met)
  | ({ readonly name: 'verified' } & Met)
  | ({ readonly name: 'waiting' } & Met)
  | ({ readonly name: 'saving' } & Met)
  | Ended;

type In<Name extends TargetState['name']> = Extract<TargetState, { readonly name: Name }>;

export type TargetEvent =
  | { readonly type: 'message'; readonly body: string }
  | { readonly type: 'typed'; readonly text: string }
  /** Whether to accept the controller; false keeps the existing ones. */
  | { readonly type: 'admitted'; readonly yes: boolean }
  | { readonly type: 'saved' };

export type TargetAction =
  | { readonly type: 'send'; readonly body: string }
  /** Ask for the code on the controller's screen. */
  | { readonly type: 'ask_code' }
  /** The text was wrong: ask again. */
  | ({ readonly type: 'again' } & WrongCode)
  /** The text was right: decide whether there is room for this controller, and answer `admitted`. */
  | { readonly type: 'admit'; readonly verificationCode: string; readonly peer: Introduction }
  /** Write the controller into the allow list. */
  | { readonly type: 'save'; readonly peer: Introduction }
  | { readonly type: 'done'; readonly peer: Introduction }
  | { readonly type: 'fail'; readonly failure: PairingFailure };

/** Details of a wrong text. */
export interface WrongCode {
  /** How many tries are left. */
  readonly triesLeft: number;
  /** Whether the text is the pairing code, which both machines used to meet. */
  readonly wasPairingCode: boolean;
  /** Whether the text has six digits. Otherwise it is a slip, which does not count as a try. */
  readonly isCode: boolean;
}

export type TargetOptions = SideOptions;

const MAX_TRIES = 3;
/** How many slips are free. They cannot be right, but a program may be typing them. */
const FREE_SLIPS = 10;

type TargetStep = Step<TargetState, TargetAction>;

export class Target extends StateMachine<TargetState, TargetEvent, TargetAction> {
  /** @throws TypeError for an introduction that the peer would refuse */
  constructor(options: TargetOptions) {
    assertIntroduction(options.own, 'target', options.signer);
    super(
      { name: 'idle' },
      {
        step: (state, event) => step(state, event, options),
        failed: { name: 'failed' },
        fail: (_state, failure) => ({ type: 'fail', failure }),
      },
    );
  }
}

async function step(state: TargetState, event: TargetEvent, options: TargetOptions): Promise<TargetStep> {
  switch (state.name) {
    case 'idle':
      if (event.type === 'message') return greet(event.body, options);
      throw tampered();
    case 'greeted':
      if (event.type === 'message') return checkCommitment(state, event.body, options);
      throw tampered();
    case 'revealed':
      if (event.type === 'message') return meet(state, event.body, options);
      throw tampered();
    case 'typing':
      if (event.type === 'typed') return compare(state, event.text, options);
      throw tampered();
    case 'verified':
      if (event.type === 'admitted') return event.yes ? sendVerified(state) : refuse(state, 'declined');
      throw tampered();
    case 'waiting':
      if (event.type === 'message') return hearCommit(state, event.body);
      throw tampered();
    case 'saving':
      if (event.type === 'saved') return sendDone(state);
      if (event.type === 'message') return [state, []];
      throw tampered();
    case 'paired':
    case 'failed':
      return [state, []];
  }
}

/** After M1: M2 is chosen without knowing the content of the commitment. */
async function greet(m1: string, options: TargetOptions): Promise<TargetStep> {
  const { com } = readM1(m1);
  const share = await newKeyShare(options);
  const m2 = writeM2({ eT: share.ephemeral.publicKey, nT: share.nonce });
  return [{ name: 'greeted', share, com, m1, m2 }, [{ type: 'send', body: m2 }]];
}

/** M3 opens the commitment. */
async function checkCommitment(
  { share, com, m1, m2 }: In<'greeted'>,
  m3: string,
  { code }: TargetOptions,
): Promise<TargetStep> {
  const { eC, nC } = readM3(m3);
  if (!equalBytes(await commitment(eC, nC), com)) throw tampered();
  return [{ name: 'revealed', ...(await agreeOnKeys('target', share, eC, code, [m1, m2, m3])) }, []];
}

/** M4: the controller introduces itself. M5 introduces this device. */
async function meet(
  { channel, th, verificationCode }: In<'revealed'>,
  m4: string,
  { own, signer }: TargetOptions,
): Promise<TargetStep> {
  const peer = await readIntroduction(th, await channel.open('m4', m4), 'controller');
  if (peer.publicKey === own.publicKey) throw new PairingError('own_key');
  const body = await channel.seal('m5', await writeIntroduction(th, own, signer));
  return [
    { name: 'typing', channel, peer, verificationCode, tries: 0, slips: 0 },
    [{ type: 'send', body }, { type: 'ask_code' }],
  ];
}

async function compare(state: In<'typing'>, text: string, { code }: TargetOptions): Promise<TargetStep> {
  const { channel, peer, verificationCode } = state;
  const typed = text.replace(/[\s-]/g, '');
  if (equalBytes(toUtf8(typed), toUtf8(verificationCode)))
    return [{ name: 'verified', channel, peer }, [{ type: 'admit', verificationCode, peer }]];
  const isCode = /^\d{6}$/.test(typed);
  const isTry = isCode || state.slips >= FREE_SLIPS;
  const tries = state.tries + (isTry ? 1 : 0);
  if (tries >= MAX_TRIES) return refuse(state, 'codes_differ');
  const wasPairingCode = equalBytes(toUtf8(typed), toUtf8(code));
  return [
    { ...state, tries, slips: state.slips + (isCode ? 0 : 1) },
    [{ type: 'again', triesLeft: MAX_TRIES - tries, wasPairingCode, isCode }],
  ];
}

/** M6: verified. */
async function sendVerified({ channel, peer }: In<'verified'>): Promise<TargetStep> {
  const body = await channel.seal('m6', AGREED);
  return [{ name: 'waiting', channel, peer }, [{ type: 'send', body }]];
}

/** M6 as a refusal, so that the controller learns the reason. */
async function refuse({ channel }: In<'typing' | 'verified'>, why: Refusal): Promise<TargetStep> {
  const body = await channel.seal('m6', refused(why));
  return [
    { name: 'failed' },
    [
      { type: 'send', body },
      { type: 'fail', failure: why },
    ],
  ];
}

/** M7: the controller commits, or says why not. */
async function hearCommit({ channel, peer }: In<'waiting'>, m7: string): Promise<TargetStep> {
  readVerdict(await channel.open('m7', m7));
  return [{ name: 'saving', channel, peer }, [{ type: 'save', peer }]];
}

/** M8: this device has written its list. */
async function sendDone({ channel, peer }: In<'saving'>): Promise<TargetStep> {
  const body = await channel.seal('m8', {});
  return [
    { name: 'paired' },
    [
      { type: 'send', body },
      { type: 'done', peer },
    ],
  ];
}
