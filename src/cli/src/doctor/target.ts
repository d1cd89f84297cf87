import { type AllowListDocument, ProxyError } from '@authmesh/sdk/admin';
import {
  type ClientRefusal,
  ClockSkewTooLargeError,
  createClient,
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
  /** Whether it was shown that the server lets this machine in. */
  readonly isVerified?: boolean;
}

/**
 * Calls a server as `amesh.fetch` does, with one signed GET, and with an unsigned one beside it: only the difference shows
 * that `verify()` has looked at the first. Notes nothing of what it answers.
 */
export async function checkTarget(
  url: URL,
  signer: Signer | undefined,
  document: AllowListDocument | undefined,
  signal: AbortSignal,
): Promise<FoundTarget> {
  if (signer === undefined || document === undefined)
    return skipped('Not called: there is no key to sign with, or no list.');
  const target = document.devices.find(
    ({ roles, hosts }) => roles.includes('target') && hosts.includes(url.host),
  );
  const refusals: ClientRefusal[] = [];
  const client = createClient({
    signer,
    fetch: fetchFromHere,
    targetOf: () => target?.deviceId,
    onRefusal: (refusal) => void refusals.push(refusal),
  });
  const shown = url.origin + url.pathname; // a query may hold secrets
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

  const text = `${shown} answers ${response.status}, and refuses the same request unsigned: verify() let this machine in.`;
  if (target !== undefined) {
    return { ...ok(`${text} The request was signed for "${target.friendlyName}".`), clock, isVerified: true };
  }
  const command = `${here(`amesh trust add --role target --host ${shellWord(url.host)} "LINE"`)}   LINE is what amesh trust export prints on that server.`;
  return {
    ...warning(`${text} No target in the list has this host, so the request did not name one.`, command),
    clock,
    isVerified: true,
  };
}

/** Closer than that, the clocks are not why a server refuses the time of a request. */
const FAIR_SECONDS = 25;

const RESTORED =
  'On the server: its log has the reason. Put the newer allow_list.json back, or go on from the older one: amesh trust reset --keep. Where the whole folder was restored, restart the server.';

/** What the server has told, with what can be told here besides. */
function explain(
  { code, detail, fix }: ClientRefusal,
  shown: string,
  url: URL,
  response: Response,
  askedAtMs: number,
): Finding {
  if (code === 'allow_list_integrity_failure')
    return failed(`${shown}: ${detail} Most often its folder was restored from an older copy.`, RESTORED);
  const difference = code === 'timestamp_out_of_range' ? differenceIn(response, askedAtMs) : null;
  // The fetch of this command sends nothing twice.
  if (difference === null)
    return failed(`${shown}: ${detail}`, fix.replace(/ Where the server's log .*/, ''));
  const { aheadSeconds } = difference;
  if (Math.abs(aheadSeconds) < FAIR_SECONDS) return failed(`${shown}: ${detail}`, fix);
  const side = aheadSeconds > 0 ? 'behind' : 'ahead of';
  const proof = url.protocol === 'https:' ? '' : ' Over plain http nobody proves that.';
  return failed(
    `${shown}: the clocks differ. This one is ${Math.abs(aheadSeconds)} s ${side} the one that the server shows.${proof}`,
    `Set the clock that is wrong, here or there: ${SET_CLOCK}`,
  );
}

/** An answer that says nothing about trust, and where to ask instead. */
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
      `${shown} answers ${status}, and asks for a login that is not amesh (${login}).`,
      'Name a path that verify() protects. Where there is one already, another login stands before it.',
    );
  }
  const slash = escapedSlash(url, shown, status);
  if (slash !== null) return slash;
  const elsewhere = await findProtectedPath(url, signal);
  const same = unsigned?.status === status;
  const what = same
    ? `${shown} answers ${status} to everybody: verify() is not in front of this path.`
    : `${shown} answers ${status} to the signed request and ${unsigned?.status ?? 'nothing'} to the unsigned one, and neither comes from verify().`;
  if (elsewhere !== null) {
    return warning(
      `${what} It says nothing about this machine.`,
      here(`amesh doctor ${shellWord(elsewhere.origin + elsewhere.pathname)}`),
    );
  }
  if (knownAs !== undefined) {
    return warning(
      `${what} The list has this host as that of "${knownAs}", so another path there has it.`,
      here(`amesh doctor ${shellWord(`${url.origin}/PATH`)}   PATH is one that verify() protects.`),
    );
  }
  return warning(
    `${what} No amesh answers at ${url.host} as far as was looked: here, above this path, and at /api.`,
    'Name a path that verify() protects. If there is none, the server does not use amesh.',
  );
}

function toLogin(unsigned: UnsignedAnswer | null): string | null {
  if (unsigned === null || (unsigned.status !== 401 && unsigned.status !== 403)) return null;
  return unsigned.otherLogin ?? String(unsigned.status);
}
