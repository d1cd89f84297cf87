import type { Signer } from '../../core/crypto/provider';
import { fromBase64Url } from '../../core/encoding';
import { AmeshError } from '../../core/errors/amesh-error';
import { type RotationAnswer, toRotationField } from '../../core/rotation/field';
import { createClient } from '../../core/sign/client';
import type { AnsweredRotation } from '../../core/sign/options';
import type { ClientRefusal } from '../../core/sign/refusal';
import { discard } from '../../core/sign/send';
import type { Env } from '../../process/home';
import type { Device } from '../../trust/device';
import { TRUST_CODES } from '../../trust/errors/codes';
import { noteAnswer } from '../rotation/change-rotation';
import { withoutWorkingKey } from '../rotation/live-device';
import type { OwnRotation } from '../rotation/rotation-file';
import { openKey } from '../setup/open-device';

/** What a target has answered to one request. */
export interface Told {
  /** Without its query. */
  readonly url: string;
  /** The ID of the target. */
  readonly target: string;
  /** The HTTP status; null if there was no answer, or one that is not proven. */
  readonly status: number | null;
  /** What the target says about the next key; null if it says nothing. */
  readonly answer: RotationAnswer | null;
  /** Whether the target has signed that. */
  readonly isProven: boolean;
  /** Why it did not take the request; null if it did. */
  readonly problem: string | null;
}

/** The part of a rotation that targets are told of. */
export interface ToldRotation extends Pick<OwnRotation, 'former' | 'targets'> {
  /** The next key. */
  readonly next: Pick<OwnRotation['next'], 'deviceId'>;
}

/** How to tell targets. */
export interface TellOptions {
  /** Sends the requests; default the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/**
 * Tells targets something about the next key, with one GET request for each URL that the former key signs. What they answer to a
 * statement is written down.
 *
 * @param what `rotate`: that the next key replaces the former one; `withdraw`: that it does not; `retire`: that the former one ends
 * @throws AmeshError `unknown_name` if no target in the list has the host of a URL, before anything is sent; AmeshError of the key backend
 */
export async function tellTargets(
  device: Device,
  rotation: ToldRotation,
  what: 'rotate' | 'withdraw' | 'retire',
  urls: readonly URL[],
  env: Env,
  { fetch }: TellOptions = {},
): Promise<Told[]> {
  const { trust, store } = device;
  const list = await trust.read();
  const known = urls.map((url) => {
    const target = list.targetOf(url.host);
    if (target !== undefined) return { url, target };
    throw new AmeshError(TRUST_CODES.unknown_name, `No target in the list has the host ${url.host}.`);
  });
  if (known.length === 0) return [];
  const former = await openKey(rotation.former, store, env);
  const all: Told[] = [];
  for (const { url, target } of known) {
    const told = Object.hasOwn(rotation.targets, target.deviceId)
      ? rotation.targets[target.deviceId]
      : undefined;
    const text = what === 'rotate' ? told?.statement : toRotationField(what, rotation.next.deviceId);
    const publicKey = fromBase64Url(target.publicKey) as Uint8Array;
    const called = { deviceId: target.deviceId, publicKey, proves: target.proves, rotation: text };
    const signer = what === 'rotate' ? former : withoutWorkingKey(former);
    const answered = await ask(url, { former: signer, called, fetch });
    const { answer, isProven } = answered;
    if (what !== 'retire' && told !== undefined && answer !== null && answer !== 'unavailable')
      await noteAnswer(store, target.deviceId, {
        ...told,
        state: what === 'withdraw' ? 'withdrawn' : answer,
        isProven,
        at: Math.floor(Date.now() / 1000),
      });
    all.push({ url: url.origin + url.pathname, target: target.deviceId, ...answered });
  }
  return all;
}

interface Asking extends TellOptions {
  readonly former: Signer;
  readonly called: {
    readonly deviceId: string;
    readonly publicKey: Uint8Array;
    readonly proves?: boolean | undefined;
    readonly rotation: string | undefined;
  };
}

async function ask(url: URL, { former, called, fetch }: Asking): Promise<Omit<Told, 'url' | 'target'>> {
  let answered: AnsweredRotation | undefined;
  let refusal: ClientRefusal | undefined;
  const client = createClient({
    signer: former,
    targetOf: () => called,
    fetch,
    onRotation: (answer) => {
      answered = answer;
    },
    onRefusal: (found) => {
      refusal = found;
    },
  });
  try {
    const response = await client.fetch(url, { redirect: 'manual' });
    await discard(response);
    const { status } = response;
    const { answer = null, isProven = false } = answered ?? {};
    return { status, answer, isProven, problem: refusal === undefined ? null : refusal.detail };
  } catch (error) {
    const { message, cause } = error as Error;
    const why = cause instanceof Error ? `${message} (${cause.message})` : message;
    return { status: null, answer: null, isProven: false, problem: why };
  }
}
