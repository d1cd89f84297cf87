import { cryptoProvider } from '#crypto';
import { type AllowListSource, deviceIdOf } from '../core/allow-list';
import type { PublicKey } from '../core/crypto/provider';
import { fromBase64Url } from '../core/encoding';
import type { Enroller, EnrolmentRequest } from '../core/enrolment';
import { AmeshError, isAmeshError } from '../core/errors';
import { checkFreshness, keepUntilMs } from '../core/freshness';
import type { Device } from '../trust/device';
import type { AllowListDocument } from '../trust/document';
import { type Enrollee, enrolCaller, findGrant } from '../trust/grants';
import { cleanName } from '../trust/names';
import { documentOf } from '../trust/to-allow-list';
import { type Enrolment, type EnrolmentFacts, parseEnrolment } from './enrolment';
import { isEnrolment, readEnrolmentBody } from './enrolment-request';
import { matchesPattern } from './names';

export interface EnrollerOptions {
  readonly device: () => Promise<Device>;
  readonly list: AllowListSource;
}

/**
 * Lets callers into this device's list that hold a grant of it. What a stranger can send is looked at in the order of
 * what it costs, and the list in memory is asked before the one on the disk.
 */
export function createEnroller({ device, list }: EnrollerOptions): Enroller {
  // One after the other: the others of this process would only take the swap away from each other.
  let last: Promise<unknown> = Promise.resolve();

  async function enrol(grantId: string, caller: Enrollee) {
    const { trust } = await device();
    const document = await trust.update((current) =>
      enrolCaller(current, grantId, caller, Math.floor(Date.now() / 1000)),
    );
    list.expire?.(); // the caller's next request comes at once
    return document.devices.find(({ deviceId }) => deviceId === caller.deviceId);
  }

  async function current(): Promise<AllowListDocument> {
    const document = documentOf(await list.current());
    if (document === undefined) throw new AmeshError('allow_list_unavailable');
    return document;
  }

  async function documentWith(grantId: string): Promise<AllowListDocument> {
    const known = await current();
    if (findGrant(known, grantId) !== undefined) return known;
    list.expire?.(); // it may have been given a moment ago
    return current();
  }

  async function answer(request: EnrolmentRequest) {
    const enrolment = parseEnrolment(await readEnrolmentBody(request.view));
    const caller = await verify(enrolment, request, await documentWith(enrolment.facts.grant));
    await claim(caller, enrolment.facts, request);
    const turn = last.then(() => enrol(enrolment.facts.grant, caller));
    last = turn.catch(() => {});
    const entry = await turn.catch(refuseOnly);
    return {
      deviceId: caller.deviceId,
      friendlyName: entry?.friendlyName,
      expiresAt: entry?.lease?.expiresAt ?? null,
    };
  }

  return { matches: isEnrolment, answer };
}

async function verify(
  { facts, message, grantSignature, callerSignature }: Enrolment,
  { authority, nowMs, settings, nonceStore }: EnrolmentRequest,
  document: AllowListDocument,
): Promise<Enrollee> {
  if (facts.target !== document.list) throw refused('The enrolment is for another target.');
  if (facts.authority !== authority) throw refused('The enrolment is for another host.');
  const stale = checkFreshness({ created: facts.time }, nowMs, settings, nonceStore.startedAt);
  if (stale !== null) throw new AmeshError('timestamp_out_of_range', stale.detail);
  const grant = findGrant(document, facts.grant);
  if (grant === undefined) throw refused('There is no such grant: never given, or revoked.');
  if (!matchesPattern(grant.names, facts.name) || cleanName(facts.name) !== facts.name)
    throw refused('The grant is not for a caller of this name.');
  const [grantKey, callerKey] = [await importKey(grant.publicKey), await importKey(facts.key)];
  if (!(await grantKey.verify(grantSignature, message)))
    throw refused('It is not signed with the key of the grant.');
  if (!(await callerKey.verify(callerSignature, message)))
    throw refused('It is not signed with the key of the caller that it names.');
  const deviceId = await deviceIdOf(fromBase64Url(facts.key) as Uint8Array, cryptoProvider);
  return { deviceId, publicKey: facts.key, friendlyName: facts.name };
}

/** Once per caller, as any request: after the signatures, so that nobody uses up what is another's. */
async function claim(
  { deviceId }: Enrollee,
  { nonce, time }: EnrolmentFacts,
  { nonceStore, nowMs, settings }: EnrolmentRequest,
): Promise<void> {
  let isNew: boolean;
  try {
    isNew = await nonceStore.claim(deviceId, nonce, keepUntilMs(time, nowMs, settings));
  } catch (cause) {
    throw isAmeshError(cause) ? cause : new AmeshError('nonce_store_unavailable', undefined, { cause });
  }
  if (isNew !== true) throw new AmeshError('replay_detected');
}

async function importKey(text: string): Promise<PublicKey> {
  try {
    return await cryptoProvider.importPublicKey(fromBase64Url(text) ?? new Uint8Array());
  } catch {
    throw new AmeshError('enrolment_malformed', 'The key of the caller is no point of the P-256 curve.');
  }
}

/** A list that would not take this caller is no fault of the server's. */
function refuseOnly(error: unknown): never {
  if (isAmeshError(error) && (error.code === 'own_key' || error.code === 'key_mismatch'))
    throw refused(error.message);
  throw error;
}

function refused(why: string): AmeshError {
  return new AmeshError('enrolment_refused', why);
}
