import type { TrustedDevice } from '../../core/devices/allow-list';
import { fromBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { toRotationField, toWithdrawal } from '../../core/rotation/field';
import { shownUrl } from '../../core/sign/refusal';
import type { Env } from '../../process/home';
import type { Device } from '../../trust/device';
import { TRUST_CODES } from '../../trust/errors/codes';
import type { PagedList } from '../../trust/format/paged-list';
import { type Asking, askTarget, type TargetAnswer } from '../rotation/ask-target';
import { noteAnswers, toldOf } from '../rotation/change-rotation';
import { withoutWorkingKey } from '../rotation/live-device';
import { type OwnRotation, stateAfter } from '../rotation/rotation-file';
import { openKey } from '../setup/open-device';

/** What a target has answered to one request. */
export interface Told extends TargetAnswer {
  /** The URL, without its query. */
  readonly url: string;
  /** The ID of the target. */
  readonly target: string;
}

/** The part of a rotation that targets learn. */
export interface ToldRotation extends Pick<OwnRotation, 'former' | 'targets'> {
  /** The next key. */
  readonly next: Pick<OwnRotation['next'], 'deviceId'>;
}

/** How to tell targets. */
export interface TellOptions {
  /** Sends the requests; default the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Called before each step that changes something: a file, a key, the list, or what a target knows. */
  readonly onChange?: (() => void) | undefined;
}

/** A URL, and the target in the list that has its host. */
export interface Addressed {
  /** The URL. */
  readonly url: URL;
  /** Its entry in the list. */
  readonly target: TrustedDevice;
}

/**
 * The targets at some URLs.
 *
 * @throws AmeshError `unknown_name` if no target in the list has the host of a URL
 */
export function targetsAt(list: Pick<PagedList, 'targetOf'>, urls: readonly URL[]): Addressed[] {
  return urls.map((url) => {
    const target = list.targetOf(url.host);
    if (target !== undefined) return { url, target };
    throw new AmeshError(TRUST_CODES.unknown_name, `No target in the list has the host ${url.host}.`);
  });
}

/**
 * Tells targets something about the next key, with one GET request for each URL, which the former key signs. Their answers to a
 * statement are written to the folder.
 *
 * @param what `rotate`: the next key replaces the former one; `withdraw`: it does not; `retire`: the former key ends
 * @throws AmeshError `unknown_name` if no target in the list has the host of a URL, before anything is sent; AmeshError of the key backend
 */
export async function tellTargets(
  device: Device,
  rotation: ToldRotation,
  what: 'rotate' | 'withdraw' | 'retire',
  urls: readonly URL[],
  env: Env,
  { fetch, onChange }: TellOptions = {},
): Promise<Told[]> {
  const { trust, store } = device;
  const known = targetsAt(await trust.read(), urls);
  if (known.length === 0) return [];
  const former = await openKey(rotation.former, store, env);
  onChange?.();
  const all: Told[] = [];
  for (const { url, target } of known) {
    const told = toldOf(rotation, target.deviceId);
    const text = textFor(what, told?.statement, rotation.next.deviceId);
    const { deviceId, proves, keys } = target;
    const publicKey = fromBase64Url(target.publicKey) as Uint8Array;
    const signer = what === 'rotate' ? former : withoutWorkingKey(former);
    const called = { deviceId, publicKey, proves, keys };
    let answered = await askTarget(url, { signer, called: { ...called, rotation: text }, fetch });
    const isNext = device.identity.deviceId === rotation.next.deviceId;
    if (what === 'rotate' && isNext && isUndecided(answered, proves)) {
      // Either nobody there accepts the statement, or the former key has ended. An administrator may have added the next key by
      // hand.
      const next = await askWithNext(url, { signer: device.signer, called, fetch });
      answered = next ?? answered;
    }
    const { answer, isProven } = answered;
    const state = what === 'retire' || answer === null ? undefined : stateAfter(what, answer);
    if (told !== undefined && state !== undefined)
      await noteAnswers(
        store,
        new Map([[deviceId, { ...told, state, isProven, at: Math.floor(Date.now() / 1000) }]]),
      );
    all.push({ url: shownUrl(url), target: target.deviceId, ...answered });
  }
  return all;
}

/** Whether a target has refused the former key, or cannot change its list. */
function isUndecided({ status, answer, problem }: TargetAnswer, proves = true): boolean {
  if (answer !== null || problem === null) return answer === 'unavailable';
  return proves || status !== null; // without an answer, nothing shows that the target verifies what is sent to this URL
}

/**
 * Asks a target with a request of the next key.
 *
 * @returns undefined if it does not accept that. A target that can prove its answers has to prove this one, too; of another one, a
 *   response of a handler counts if nobody in between can have written it
 */
async function askWithNext(
  url: URL,
  asking: Pick<Asking, 'signer' | 'called' | 'fetch'>,
): Promise<TargetAnswer | undefined> {
  const proves = asking.called.proves !== false;
  let isAccepted = false;
  const accepted = () => {
    isAccepted = true;
  };
  const called = proves ? asking.called : { ...asking.called, accepted };
  const next = await askTarget(url, { ...asking, called, answers: proves ? 'required' : 'auto' });
  if (proves) isAccepted = next.status !== null && next.problem === null;
  return isAccepted ? { ...next, answer: 'accepted', isProven: proves } : undefined;
}

function textFor(
  what: 'rotate' | 'withdraw' | 'retire',
  statement: string | undefined,
  nextId: string,
): string | undefined {
  if (what === 'rotate') return statement;
  return what === 'withdraw' && statement !== undefined
    ? toWithdrawal(statement)
    : toRotationField(what, nextId);
}
