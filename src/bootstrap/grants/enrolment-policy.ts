import { cryptoProvider } from '#crypto';
import type { PublicKey } from '../../core/crypto/provider';
import { type AllowList, deviceIdOf, isOwnId } from '../../core/devices/allow-list';
import { fromBase64Url } from '../../core/encoding';
import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { REQUEST_CODES, SERVER_CODES } from '../../core/errors/codes';
import { type Fault, toFault } from '../../core/errors/fault';
import type { EnrolmentRequest } from '../../core/verify/enroller';
import { checkFreshness, checkStart, keepUntilMs } from '../../core/verify/freshness';
import { storeFailed } from '../../core/verify/nonce';
import { TRUST_CODES } from '../../trust/errors/codes';
import type { PagedList } from '../../trust/format/paged-list';
import type { Grant } from '../../trust/format/tokens';
import { admit, type Enrollee } from '../../trust/grants';
import { cleanName } from '../../trust/names';
import { BOOTSTRAP_CODES } from '../errors/codes';
import { matchesPattern } from '../tokens/names';
import type { Enrolment, EnrolmentFacts } from './enrolment-request';

/**
 * Refuses an enrolment for another target. This check is cheap.
 *
 * @throws AmeshError `enrolment_refused`
 */
export function assertForTarget(
  { target, authority }: EnrolmentFacts,
  list: AllowList,
  request: EnrolmentRequest,
): void {
  if (!isOwnId(list, target)) throw refused('The enrolment is for another target.');
  if (authority !== request.authority) throw refused('The enrolment is for another host.');
}

/** @returns the error if the time of an enrolment is outside the window */
export function checkTime(
  { time }: EnrolmentFacts,
  { settings, nonceStore }: EnrolmentRequest,
  nowMs: number,
): AmeshError | null {
  return toError(checkFreshness({ created: time }, nowMs, settings, nonceStore.startedAt));
}

/**
 * Verifies the two signatures of an enrolment.
 *
 * @throws AmeshError `enrolment_refused`, `enrolment_malformed`
 */
export async function verifyEnrolment(
  { facts, message, grantSignature, callerSignature }: Enrolment,
  grant: Grant,
): Promise<Enrollee> {
  if (!matchesPattern(grant.names, facts.name) || cleanName(facts.name) !== facts.name)
    throw refused('The grant is not for a caller of this name.');
  if (!(await (await importKey(grant.publicKey, 'grant')).verify(grantSignature, message)))
    throw refused('It is not signed with the key of the grant.');
  if (!(await (await importKey(facts.key, 'caller')).verify(callerSignature, message)))
    throw refused('It is not signed with the key of the caller that it names.');
  const deviceId = await deviceIdOf(fromBase64Url(facts.key) as Uint8Array, cryptoProvider);
  return { deviceId, publicKey: facts.key, friendlyName: facts.name };
}

/**
 * Refuses a caller that the grant does not admit. This check comes before the nonce is stored: somebody with an expired grant must
 * not fill the nonce store with new keys.
 */
export function assertAdmitted(list: PagedList, grantId: string, caller: Enrollee): void {
  try {
    const { deviceId } = caller;
    const known = { entry: list.entry(deviceId), tombstone: list.tombstone(deviceId) };
    admit(list.head, known, grantId, caller, nowSeconds());
  } catch (error) {
    refuseOnly(error);
  }
}

/**
 * Claims the nonce, once per caller, as for any request. This comes after the check of the signatures, so that nobody can use up
 * the nonce of another caller.
 *
 * @throws AmeshError `replay_detected`, `nonce_store_unavailable`, `timestamp_out_of_range`
 */
export async function claimNonce(
  { deviceId }: Enrollee,
  { nonce, time }: EnrolmentFacts,
  { nonceStore, settings }: EnrolmentRequest,
  nowMs: number,
): Promise<void> {
  let isNew: boolean;
  try {
    isNew = await nonceStore.claim(deviceId, nonce, keepUntilMs(nonceStore, time, nowMs, settings));
  } catch (cause) {
    storeFailed(cause);
  }
  if (isNew !== true) throw new AmeshError(REQUEST_CODES.replay_detected);
  const stale = toError(checkStart(time, nonceStore.startedAt, nowMs)); // the store may have lost its nonces since then
  if (stale !== null) throw stale;
}

function toError(fault: Fault | null): AmeshError | null {
  return fault && new AmeshError(fault.facts, fault.detail, fault.advice);
}

async function importKey(text: string, whose: 'grant' | 'caller'): Promise<PublicKey> {
  try {
    return await cryptoProvider.importPublicKey(fromBase64Url(text) ?? new Uint8Array());
  } catch {
    throw new AmeshError(
      BOOTSTRAP_CODES.enrolment_malformed,
      `The key of the ${whose} is not a point on the P-256 curve.`,
    );
  }
}

/**
 * The error for a caller if the list was not changed. If the list does not accept this caller, that is a refusal; if the list
 * cannot be written, that is a fault of the server.
 */
export function refuseOnly(error: unknown): never {
  if (isAmeshError(error) && (error.code === 'own_key' || error.code === 'key_mismatch'))
    throw refused(error.detail);
  if (toFault(error) !== null) throw error;
  throw new AmeshError(
    SERVER_CODES.allow_list_unavailable,
    'The allow list cannot be written, so no caller can enrol.',
    {
      fix: 'Check that this process can write to the folder or store of the list.',
      cause: error,
    },
  );
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function refused(why: string): AmeshError {
  return new AmeshError(TRUST_CODES.enrolment_refused, why);
}
