import { throwIfAborted, untilAborted } from '../abort';
import {
  type AnswerOptions,
  type CalledTarget,
  cannotProve,
  type ProvingTarget,
  provingTarget,
} from '../answers/asking';
import type { RequestSigner, Signer } from '../crypto/provider';
import { toBase64Url } from '../encoding';
import type { Settings } from './options';
import { type Outgoing, toView } from './outgoing/outgoing';
import { stopwatch } from './prove';
import { signParts } from './sign-request';

/** How to send a request once. */
export interface Attempt {
  /** The device ID to name. */
  readonly targetId: string | undefined;
  /** The target with that ID, if more about it is known. */
  readonly called: CalledTarget | undefined;
  /** The target to ask for a proof, if one is asked for. */
  readonly asked: ProvingTarget | undefined;
  /** Whether an answer that is not proven is an error. */
  readonly needsProof: boolean;
  readonly allowsUnprovenBody: boolean;
  /** The correction of the clock that was just found. */
  readonly offsetMs?: number;
}

/** @returns how to send a request; and the target, if it can prove its answers and `answers` is not `off` */
export async function attemptTo(settings: Settings, { url, signal }: Outgoing, how: AnswerOptions) {
  const { targetId, called, target } = await untilAborted(signal, findTarget(settings, url, how));
  const needsProof = how.answers === 'required' || (target !== undefined && url.protocol !== 'https:');
  const { allowsUnprovenBody } = how;
  const asked = needsProof || isAboutKeys(called) ? target : undefined;
  const attempt: Attempt = { targetId, called, needsProof, allowsUnprovenBody, asked };
  return { attempt, target };
}

/** Whether the answer may change what this machine knows about its keys. */
export function isAboutKeys(called: CalledTarget | undefined): boolean {
  return called?.rotation !== undefined || called?.accepted !== undefined;
}

/** @returns the ID to name, and what else is known; with the target, if it can prove its answers and `answers` is not `off` */
async function findTarget({ open, targetOf, keys, now }: Settings, url: URL, { answers }: AnswerOptions) {
  await open(); // first: without a key there is nothing to look up
  const found = (await targetOf?.(url.host)) ?? undefined;
  const target = answers === 'off' ? undefined : await provingTarget(found, keys, now());
  if (target === undefined && answers === 'required') throw cannotProve(url, found);
  return typeof found === 'object'
    ? { targetId: found.deviceId, called: found, target }
    : { targetId: found, target };
}

/** What identifies a request at its target, which carries out at most one of the requests that share it. */
interface Claim {
  readonly nonce: string;
  /** Unix seconds, by the clock of the target. */
  readonly created: number;
  /** How long ago that was. */
  readonly elapsedMs: () => number;
}

/** A request with its signature. */
export type Signed = Awaited<ReturnType<typeof sign>>;

/**
 * Signs a request, with a nonce of its own unless `before` is given.
 *
 * @param before the earlier request whose time and nonce it takes
 */
export function signOnce(
  settings: Settings,
  request: Outgoing,
  attempt: Attempt,
  before?: Claim,
): Promise<Signed> {
  return untilAborted(request.signal, sign(settings, request, attempt, before));
}

/** Deno does not decode a body if the program asked for no coding, and a proxy compresses it nevertheless. */
const isDeno = 'Deno' in globalThis;

async function sign(
  settings: Settings,
  request: Outgoing,
  { targetId, called, asked, offsetMs }: Attempt,
  before: Claim | undefined,
) {
  const { open, clocks, format, crypto } = settings;
  const opened = called?.signer ?? (await open());
  const worker = await opened.requestSigner?.();
  const signer = worker === undefined ? opened : signerOf(worker);
  throwIfAborted(request.signal); // a key may wait for somebody's touch
  const claim: Claim = before ?? {
    nonce: toBase64Url(crypto.randomBytes(16)),
    created: clocks.seconds(request.url.origin, offsetMs), // read only now, since opening a key can be slow
    elapsedMs: stopwatch(settings),
  };
  const { added, base, signature } = await signParts(toView(request), request.bytes, signer, {
    format,
    targetDeviceId: targetId,
    nonce: claim.nonce,
    created: claim.created,
    asksForProof: asked !== undefined,
    rotation: called?.rotation,
    crypto,
  });
  const headers = new Headers(request.headers);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  if (asked !== undefined && !isDeno && !headers.has('accept-encoding'))
    headers.set('accept-encoding', 'identity');
  return { ...claim, headers, worker, base, signature };
}

/** A signer with exactly this working key: a moment later, the device may have another one. */
function signerOf(worker: RequestSigner): Signer {
  return {
    publicKey: worker.publicKey,
    sign: (message) => worker.sign(message),
    requestSigner: () => worker,
  };
}
