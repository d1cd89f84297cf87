import { cryptoProvider } from '#crypto';
import { ASK } from '../../core/answers/answer';
import { toBase64Url } from '../../core/encoding';
import { ServerClocks } from '../../core/sign/clock';
import { isLate, stopwatch } from '../../core/sign/prove';
import { discard } from '../../core/sign/send';
import { isLoopback, normalizeAuthority } from '../../core/wire/authority';
import type { Device } from '../../trust/device';
import { nameFor } from '../tokens/names';
import type { GrantClaims } from '../tokens/token';
import { ENROLMENT_PATH } from './enrolment-endpoint';
import { writeEnrolment } from './enrolment-request';
import { readEnrolmentResponse } from './enrolment-response';
import { proveEnrolment, provenTime, type SentEnrolment } from './prove-enrolment';

/** The longest lease, whatever a target says. */
const YEAR_SECONDS = 31_536_000;
const ANSWER_MS = 30_000;

const HEADERS = {
  'content-type': 'application/amesh-enrolment',
  'accept-signature': ASK,
} as const;

/** Whether a grant is for the target behind a URL. A grant without hosts is for a target on this machine. */
export function isFor({ hosts }: GrantClaims, url: URL): boolean {
  const authority = normalizeAuthority(url.host) ?? '';
  return hosts.length === 0 ? isLoopback(authority) : hosts.includes(authority);
}

/**
 * Adds this device to the list of a grant's target. Only a proven answer counts, unless the grant says that its target cannot prove
 * its answers.
 *
 * @param origin where the target is called
 * @returns when the permission to call ends, according to the response, in Unix seconds; at most a year from now
 * @throws AmeshError `answer_unproven`, `grant_expired`, `grant_used_up`, `enrolment_refused`, `enrolment_failed`,
 *   `clock_skew_too_large`;
 *   the errors of `fetch`
 */
export async function enrolAt(
  origin: URL,
  claims: GrantClaims,
  device: Device,
  doFetch: typeof globalThis.fetch,
): Promise<number> {
  const url = new URL(ENROLMENT_PATH, origin);
  const authority = normalizeAuthority(url.host) as string;
  const clocks = new ServerClocks(Date.now);
  const { identity, signer } = device;
  const grant = await cryptoProvider.importPrivateKey(claims.jwk);
  const send = async (offsetMs?: number): Promise<SentEnrolment> => {
    const elapsedMs = stopwatch(clocks);
    const facts = {
      grant: claims.jti,
      key: identity.publicKey,
      name: nameFor(claims.callers, identity.friendlyName),
      target: claims.iss,
      authority,
      time: clocks.seconds(url.origin, offsetMs),
      nonce: toBase64Url(cryptoProvider.randomBytes(16)),
    };
    const body = await writeEnrolment(facts, grant, signer);
    const response = await doFetch(url, {
      method: 'POST',
      headers: { ...HEADERS, 'authmesh-target': claims.iss },
      body,
      redirect: 'manual',
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    return { body, response, tookMs: elapsedMs() };
  };
  let sent = await send();
  if (isLate(sent.response)) {
    const offsetMs = await correctionBy(sent, claims, url, clocks);
    if (offsetMs !== undefined) sent = await send(offsetMs);
  }
  const answer =
    claims.proves === false ? sent.response : await proveEnrolment(sent, claims, url, identity.deviceId);
  const expiresAt = await readEnrolmentResponse(answer, url, identity.deviceId);
  const most = Math.floor(Date.now() / 1000) + YEAR_SECONDS;
  return Math.min(expiresAt ?? most, most);
}

/**
 * The correction of the clock after a refusal of the time of an enrolment, in milliseconds. If the refusal is not proven, there is
 * no correction: the enrolment is made once more with the time of our own clock, since the target may have just started.
 *
 * @returns undefined if the enrolment need not be sent again
 */
async function correctionBy(
  sent: SentEnrolment,
  claims: GrantClaims,
  url: URL,
  clocks: ServerClocks,
): Promise<number | undefined> {
  const { response } = sent;
  const believed =
    claims.proves !== false
      ? await provenTime(sent, claims, url)
      : clocks.mayCorrect(url, response)
        ? response
        : undefined;
  if (believed === undefined && claims.proves === false) return undefined;
  await discard(believed ?? response);
  return believed === undefined ? 0 : clocks.correct(url, believed);
}
