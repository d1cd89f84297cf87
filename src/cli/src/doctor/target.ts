import {
  ProxyError,
  type Trial,
  type TrialOptions,
  type TriedMachine,
  trialOfDelegate,
  trialOfMachine,
} from '@authmesh/sdk/admin';
import type { PagedList } from '@authmesh/sdk/admin/list';
import {
  type AnswerUnprovenError,
  type ClientRefusal,
  ClockSkewTooLargeError,
  type DelegatedSigner,
  isAmeshError,
} from '@authmesh/sdk/core';
import { here } from '../words/here';
import { shellWord } from '../words/shell';
import { beginCalls, type Called, callUnsigned, findProtectedPath, type UnsignedAnswer } from './calls';
import { clockIn, differenceIn, SET_CLOCK, type SeenClock } from './clock';
import { type Finding, failed, ok, skipped, toFinding, warning } from './finding';
import { noAnswer, otherScheme, speaksTls } from './no-answer';
import { checkPlainPath, escapedSlash } from './rewriting';

export interface FoundTarget extends Finding {
  readonly clock?: SeenClock | null;
  /** Whether the server is proven to accept this machine's requests. */
  readonly isVerified?: boolean;
}

/** Who calls, and how. */
export interface Caller {
  /** Begins to call as programs here do. Absent if there is no key or no list. */
  readonly begin?: ((options: TrialOptions) => Promise<Trial>) | undefined;
  /** The name of the target that is called at a host. */
  nameOf(deviceId: string, host: string): string;
  /** The command that adds the target at a host, if none is known; null if that is not needed. */
  toName(url: URL): string | null;
}

/** @param list the list in which programs look up a target */
export function asDevice(
  machine: Omit<TriedMachine, 'list' | 'env'> | undefined,
  list: PagedList | undefined,
): Caller {
  const tried = machine && list && { ...machine, list, env: process.env };
  return {
    begin: tried && ((options) => trialOfMachine(tried, options)),
    nameOf: (deviceId, host) => list?.targetOf(host)?.friendlyName ?? deviceId,
    toName: ({ host }) =>
      `${here(`amesh trust add --role target --host ${shellWord(host)} "LINE"`)}   LINE is the line that amesh trust export prints on that target.`,
  };
}

export function asDelegate(signer: DelegatedSigner): Caller {
  return {
    begin: async (options) => trialOfDelegate(signer, process.env, options),
    nameOf: (deviceId) => deviceId,
    toName: () => null,
  };
}

/**
 * Calls a server as `amesh.fetch` does, with a signed GET and then an unsigned one: only a difference proves that `verify()`
 * checked the first. It stores nothing from the responses.
 */
export async function checkTarget(url: URL, caller: Caller, signal: AbortSignal): Promise<FoundTarget> {
  if (caller.begin === undefined) return skipped('Not called: there is no key or no list.');
  const shown = url.origin + url.pathname; // a query may contain secrets
  const calls = await beginCalls(caller.begin, signal);
  let called: Called;
  try {
    called = await calls.call(url);
  } catch (error) {
    if (signal.aborted && !(error instanceof ProxyError)) throw error;
    if (error instanceof ClockSkewTooLargeError)
      return { ...toFinding(error), clock: { host: url.host, aheadSeconds: error.differenceSeconds } };
    if (isAmeshError(error)) return calls.withNotes(toFinding(error));
    return noAnswer(url, shown, error);
  }
  const { response, refusal, askedAtMs } = called;
  const clock = clockIn(url, response, askedAtMs);
  if (refusal?.code === 'unauthorized') {
    const found = await checkPlainPath(url, calls.isAccepted, signal);
    if (found !== null) return { ...found, clock };
  }
  if (refusal !== undefined) return { ...calls.withNotes(explain(refusal, shown, url, called)), clock };
  if (response.status === 400 && url.protocol === 'http:' && (await speaksTls(url)))
    return { ...otherScheme(url, `${shown} expects TLS.`, 'https:'), clock };
  const targetId = await calls.targetOf(url.host);
  const name = targetId && caller.nameOf(targetId, url.host);
  const unsigned = await callUnsigned(url, signal);
  if (!unsigned?.isRefusedByAmesh)
    return { ...(await unproven(url, shown, response, unsigned, name, signal)), clock };

  if (called.unproven !== undefined) return { ...calls.withNotes(withoutProof(called.unproven)), clock };
  const text = `${shown} responds ${response.status}, and refuses the same request without a signature: verify() accepted this machine.`;
  const verified = { clock, isVerified: true };
  if (name !== undefined)
    return { ...calls.withNotes(ok(`${text} The request was signed for "${name}".`)), ...verified };
  const command = caller.toName(url);
  const unnamed = `${text} No target in the list has this host, so the request named no target.`;
  return { ...(command === null ? ok(text) : warning(unnamed, command)), ...verified };
}

/** The finding for a server that accepts this machine, and does not prove that. */
function withoutProof({ detail }: AnswerUnprovenError): Finding {
  return failed(
    `${detail} So amesh.fetch throws answer_unproven.`,
    'If the target cannot sign answers, give it an answer key (amesh answer-key), or call it over https. Otherwise another program or a proxy may have answered, or changed the answer.',
  );
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
  { response, askedAtMs }: Called,
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
    `Correct the clock that is wrong, here or there: ${SET_CLOCK}`,
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
