import { ProxyError } from '@authmesh/sdk/admin';
import type { PagedList } from '@authmesh/sdk/admin/list';
import {
  type ClientRefusal,
  ClockSkewTooLargeError,
  createClient,
  type DelegatedSigner,
  isAmeshError,
  type Signer,
} from '@authmesh/sdk/core';
import { here } from '../words/here';
import { shellWord } from '../words/shell';
import { clockIn, differenceIn, SET_CLOCK, type SeenClock } from './clock';
import { fetchFromHere } from './fetch';
import { type Finding, failed, ok, skipped, toFinding, warning } from './finding';
import { noAnswer, otherScheme, speaksTls } from './no-answer';
import { checkPlainPath, escapedSlash } from './rewriting';
import { callUnsigned, findProtectedPath, type UnsignedAnswer } from './unsigned';

export interface FoundTarget extends Finding {
  readonly clock?: SeenClock | null;
  /** Whether the server is proven to accept this machine's requests. */
  readonly isVerified?: boolean;
}

/** Who calls, and how. */
export interface Caller {
  /** Absent if there is no key. */
  readonly signer?: Signer | undefined;
  /** The target for which a request to a host is signed. */
  targetOf(host: string): { readonly deviceId: string; readonly friendlyName: string } | undefined;
  /** The command that adds the target at a host, if none is known; null if that is not needed. */
  toName(url: URL): string | null;
}

export function asDevice(signer: Signer | undefined, list: PagedList | undefined): Caller {
  return {
    signer: list && signer,
    targetOf: (host) => list?.targetOf(host),
    toName: ({ host }) =>
      `${here(`amesh trust add --role target --host ${shellWord(host)} "LINE"`)}   LINE is the line that amesh trust export prints on that target.`,
  };
}

/** A delegate signs for its only target. */
export function asDelegate(signer: DelegatedSigner): Caller {
  const [deviceId = '', ...others] = signer.delegation.targets;
  const only = { deviceId, friendlyName: deviceId };
  return { signer, targetOf: () => (others.length === 0 ? only : undefined), toName: () => null };
}

/**
 * Calls a server like `amesh.fetch`, with a signed GET and then an unsigned one: only a difference proves that `verify()`
 * checked the first. It stores nothing from the responses.
 */
export async function checkTarget(url: URL, caller: Caller, signal: AbortSignal): Promise<FoundTarget> {
  const { signer } = caller;
  if (signer === undefined) return skipped('Not called: there is no key or no list.');
  const target = caller.targetOf(url.host);
  const refusals: ClientRefusal[] = [];
  const client = createClient({
    signer,
    fetch: fetchFromHere,
    targetOf: () => target?.deviceId,
    onRefusal: (refusal) => void refusals.push(refusal),
  });
  const shown = url.origin + url.pathname; // a query may contain secrets
  const askedAtMs = Date.now();
  let response: Response;
  try {
    response = await client.fetch(url, { signal });
  } catch (error) {
    if (signal.aborted && !(error instanceof ProxyError)) throw error;
    if (error instanceof ClockSkewTooLargeError)
      return { ...toFinding(error), clock: { host: url.host, aheadSeconds: error.differenceSeconds } };
    if (isAmeshError(error)) return toFinding(error);
    return noAnswer(url, shown, error);
  }
  await response.body?.cancel();
  const clock = clockIn(url, response, askedAtMs);
  const [refusal] = refusals;
  if (refusal?.code === 'unauthorized') {
    refusals.length = 0;
    const found = await checkPlainPath(url, client, () => refusals.length > 0, signal);
    if (found !== null) return { ...found, clock };
  }
  if (refusal !== undefined) return { ...explain(refusal, shown, url, response, askedAtMs), clock };
  if (response.status === 400 && url.protocol === 'http:' && (await speaksTls(url)))
    return { ...otherScheme(url, `${shown} expects TLS.`, 'https:'), clock };
  const unsigned = await callUnsigned(url, signal);
  if (!unsigned?.isRefusedByAmesh)
    return { ...(await unproven(url, shown, response, unsigned, target?.friendlyName, signal)), clock };

  const text = `${shown} responds ${response.status}, and refuses the same request without a signature: verify() accepted this machine.`;
  if (target !== undefined) {
    return { ...ok(`${text} The request was signed for "${target.friendlyName}".`), clock, isVerified: true };
  }
  const command = caller.toName(url);
  const unnamed = `${text} No target in the list has this host, so the request named no target.`;
  return { ...(command === null ? ok(text) : warning(unnamed, command)), clock, isVerified: true };
}

/** With a smaller difference, the clocks are not the reason why a server refuses the time of a request. */
const FAIR_SECONDS = 25;

const RESTORED =
  "See the server's log for the reason. Restore the newer allow_list.json, or continue from the older one: amesh trust reset --keep. If the whole folder was restored, restart the server.";

/** Explains the server's refusal, with details that this machine knows. */
function explain(
  { code, detail, fix }: ClientRefusal,
  shown: string,
  url: URL,
  response: Response,
  askedAtMs: number,
): Finding {
  if (code === 'allow_list_integrity_failure')
    return failed(
      `${shown}: ${detail} The most common reason is that its folder was restored from an older copy.`,
      RESTORED,
    );
  const difference = code === 'timestamp_out_of_range' ? differenceIn(response, askedAtMs) : null;
  if (difference === null) return failed(`${shown}: ${detail}`, fix);
  const { aheadSeconds } = difference;
  if (Math.abs(aheadSeconds) < FAIR_SECONDS) return failed(`${shown}: ${detail}`, fix);
  const side = aheadSeconds > 0 ? 'behind' : 'ahead of';
  const proof = url.protocol === 'https:' ? '' : ' Over plain http nothing proves that.';
  return failed(
    `${shown}: the clocks differ. This machine's clock is ${Math.abs(aheadSeconds)} s ${side} the server's.${proof}`,
    `Set the wrong clock, here or there: ${SET_CLOCK}`,
  );
}

/** The finding for a response that proves nothing about trust, and which path to try instead. */
async function unproven(
  url: URL,
  shown: string,
  { status }: Response,
  unsigned: UnsignedAnswer | null,
  knownAs: string | undefined,
  signal: AbortSignal,
): Promise<Finding> {
  const login = toLogin(unsigned);
  if (login !== null) {
    return failed(
      `${shown} responds ${status}, and asks for another login than amesh (${login}).`,
      'Use a path that verify() protects. If this is one, another login is in front of it.',
    );
  }
  const slash = escapedSlash(url, shown, status);
  if (slash !== null) return slash;
  const elsewhere = await findProtectedPath(url, signal);
  const same = unsigned?.status === status;
  const what = same
    ? `${shown} responds ${status} to everybody: verify() does not protect this path.`
    : `${shown} responds ${status} to the signed request and ${unsigned?.status ?? 'nothing'} to the unsigned one, but neither response comes from verify().`;
  if (elsewhere !== null) {
    return warning(
      `${what} It proves nothing about this machine.`,
      here(`amesh doctor ${shellWord(elsewhere.origin + elsewhere.pathname)}`),
    );
  }
  if (knownAs !== undefined) {
    return warning(
      `${what} In the list this is the host of "${knownAs}", so another path should be protected.`,
      here(`amesh doctor ${shellWord(`${url.origin}/PATH`)}   PATH is one that verify() protects.`),
    );
  }
  return warning(
    `${what} No path that was tried at ${url.host} uses amesh: this one, those above it, and /api.`,
    'Use a path that verify() protects. If there is none, the server does not use amesh.',
  );
}

function toLogin(unsigned: UnsignedAnswer | null): string | null {
  if (unsigned === null || (unsigned.status !== 401 && unsigned.status !== 403)) return null;
  return unsigned.otherLogin ?? String(unsigned.status);
}
