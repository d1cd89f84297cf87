import { PairingError, type PairingFailure, tampered } from './failure';
import { assertIntroduction, type Introduction, readIntroduction, writeIntroduction } from './introduction';
import { agreeOnKeys, type KeyShare, newKeyShare, type SharedSecrets } from './key-agreement';
import { readM2, writeM1, writeM3 } from './key-exchange';
import { commitment } from './key-schedule';
import type { Met, SideOptions } from './side';
import { type Ended, StateMachine, type Step } from './state-machine';
import { AGREED, readDone, readVerdict, refused } from './verdict';

/*
 * The controller's side of amesh-pair/1. It uses no sockets, clock or disk: events go in, actions come out.
 *
 *   state         event              action                                                      next state
 *   idle          start              send M1                                                     committed
 *   committed     message M2         send M3 and M4                                              introduced
 *   introduced    message M5         show the verification code                                  showing
 *   showing       message M6 (yes)   ask whether the target shows VERIFIED with this code        asking
 *   asking        answer yes         save the target, unconfirmed                                saving
 *   asking        answer no          send M7 (no), fail                                          failed
 *   saving        message            none: no message is expected before M7                      saving
 *   saving        saved              send M7 (commit)                                            committing
 *   committing    message M8 (done)  confirm the target                                          paired
 *
 * Any other event, and any unexpected message, fails. `paired` and `failed` ignore all events.
 *
 * Before `saving`, nothing has changed anywhere. In `committing`, the target may or may not have written its list: the
 * entry stays unconfirmed until M8, or until the target accepts a request.
 */
export type ControllerState =
  | { readonly name: 'idle' }
  | { readonly name: 'committed'; readonly share: KeyShare; readonly m1: string }
  | ({ readonly name: 'introduced' } & SharedSecrets)
  | ({ readonly name: 'showing'; readonly verificationCode: string } & Met)
  | ({ readonly name: 'asking' } & Met)
  | ({ readonly name: 'saving' } & Met)
  | ({ readonly name: 'committing' } & Met)
  | Ended;

type In<Name extends ControllerState['name']> = Extract<ControllerState, { readonly name: Name }>;

export type ControllerEvent =
  | { readonly type: 'start' }
  | { readonly type: 'message'; readonly body: string }
  | { readonly type: 'answer'; readonly yes: boolean }
  | { readonly type: 'saved' };

export type ControllerAction =
  | { readonly type: 'send'; readonly body: string }
  /** Show the code, which a person types on the target. The peer is not verified yet. */
  | { readonly type: 'show'; readonly verificationCode: string; readonly peer: Introduction }
  /** Ask whether the target shows VERIFIED with this code. */
  | { readonly type: 'ask'; readonly verificationCode: string; readonly peer: Introduction }
  /** Write the target into the allow list, unconfirmed. */
  | { readonly type: 'save'; readonly peer: Introduction }
  /** The target has written its list: confirm the entry. */
  | { readonly type: 'confirm'; readonly peer: Introduction }
  /** Nothing has changed, except that a target that was already saved stays in the list, unconfirmed. */
  | { readonly type: 'fail'; readonly failure: PairingFailure; readonly unconfirmed: boolean };

export type ControllerOptions = SideOptions;

type ControllerStep = Step<ControllerState, ControllerAction>;

export class Controller extends StateMachine<ControllerState, ControllerEvent, ControllerAction> {
  /** @throws TypeError for an introduction that the peer would refuse */
  constructor(options: ControllerOptions) {
    assertIntroduction(options.own, 'controller', options.signer);
    super(
      { name: 'idle' },
      {
        step: (state, event) => step(state, event, options),
        failed: { name: 'failed' },
        fail: (state, failure) => ({ type: 'fail', failure, unconfirmed: state.name === 'committing' }),
      },
    );
  }
}

async function step(
  state: ControllerState,
  event: ControllerEvent,
  options: ControllerOptions,
): Promise<ControllerStep> {
  switch (state.name) {
    case 'idle':
      if (event.type === 'start') return commit(options);
      throw tampered();
    case 'committed':
      if (event.type === 'message') return reveal(state, event.body, options);
      throw tampered();
    case 'introduced':
      if (event.type === 'message') return meet(state, event.body, options);
      throw tampered();
    case 'showing':
      if (event.type === 'message') return hearVerdict(state, event.body);
      throw tampered();
    case 'asking':
      if (event.type === 'answer') return event.yes ? accept(state) : decline(state);
      throw tampered();
    case 'saving':
      if (event.type === 'saved') return sendCommit(state);
      if (event.type === 'message') return [state, []];
      throw tampered();
    case 'committing':
      if (event.type === 'message') return hearDone(state, event.body);
      throw tampered();
    case 'paired':
    case 'failed':
      return [state, []];
  }
}

/** M1: the commitment comes before anything about the target is known. */
async function commit(options: ControllerOptions): Promise<ControllerStep> {
  const share = await newKeyShare(options);
  const m1 = writeM1({ com: await commitment(share.ephemeral.publicKey, share.nonce) });
  return [{ name: 'committed', share, m1 }, [{ type: 'send', body: m1 }]];
}

/** After M2: M3 opens the commitment, and M4 introduces this device to the peer that has the same keys. */
async function reveal(
  { share, m1 }: In<'committed'>,
  m2: string,
  { code, own, signer }: ControllerOptions,
): Promise<ControllerStep> {
  const { eT } = readM2(m2);
  const m3 = writeM3({ eC: share.ephemeral.publicKey, nC: share.nonce });
  const secrets = await agreeOnKeys('controller', share, eT, code, [m1, m2, m3]);
  const m4 = await secrets.channel.seal('m4', await writeIntroduction(secrets.th, own, signer));
  return [
    { name: 'introduced', ...secrets },
    [
      { type: 'send', body: m3 },
      { type: 'send', body: m4 },
    ],
  ];
}

/** M5: the target introduces itself. */
async function meet(
  { channel, th, verificationCode }: In<'introduced'>,
  m5: string,
  { own }: ControllerOptions,
): Promise<ControllerStep> {
  const peer = await readIntroduction(th, await channel.open('m5', m5), 'target');
  if (peer.publicKey === own.publicKey) throw new PairingError('own_key');
  return [{ name: 'showing', channel, peer, verificationCode }, [{ type: 'show', verificationCode, peer }]];
}

/** M6: the target has verified the code, or says why not. */
async function hearVerdict(
  { channel, peer, verificationCode }: In<'showing'>,
  m6: string,
): Promise<ControllerStep> {
  readVerdict(await channel.open('m6', m6));
  return [{ name: 'asking', channel, peer }, [{ type: 'ask', verificationCode, peer }]];
}

function accept({ channel, peer }: In<'asking'>): ControllerStep {
  return [{ name: 'saving', channel, peer }, [{ type: 'save', peer }]];
}

/** M7 as a refusal, so that the target learns the reason. */
async function decline({ channel }: In<'asking'>): Promise<ControllerStep> {
  const body = await channel.seal('m7', refused('declined'));
  return [
    { name: 'failed' },
    [
      { type: 'send', body },
      { type: 'fail', failure: 'declined', unconfirmed: false },
    ],
  ];
}

/** M7 as the commit: from now on, the target may write its list. */
async function sendCommit({ channel, peer }: In<'saving'>): Promise<ControllerStep> {
  const body = await channel.seal('m7', AGREED);
  return [{ name: 'committing', channel, peer }, [{ type: 'send', body }]];
}

/** M8: the target has written its list. */
async function hearDone({ channel, peer }: In<'committing'>, m8: string): Promise<ControllerStep> {
  readDone(await channel.open('m8', m8));
  return [{ name: 'paired' }, [{ type: 'confirm', peer }]];
}
