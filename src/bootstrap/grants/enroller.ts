import { setTimeout as sleep } from 'node:timers/promises';
import { cryptoProvider } from '#crypto';
import type { PublicKey } from '../../core/crypto/provider';
import { type AllowListSource, deviceIdOf } from '../../core/devices/allow-list';
import { fromBase64Url } from '../../core/encoding';
import { AmeshError, isAmeshError } from '../../core/errors/amesh-error';
import { type Fault, toFault } from '../../core/errors/fault';
import { readAllowList } from '../../core/verify/device';
import type { Enroller, EnrolmentRequest } from '../../core/verify/enroller';
import { checkFreshness, checkStart, keepUntilMs } from '../../core/verify/freshness';
import type { Device } from '../../trust/device';
import { admit, type Enrollee, enrolCaller, expectGrant, findGrant } from '../../trust/grants';
import type { AllowListDocument, Grant } from '../../trust/list/document';
import { documentOf } from '../../trust/list/to-allow-list';
import { cleanName } from '../../trust/names';
import { matchesPattern } from '../tokens/names';
import { type Enrolment, type EnrolmentFacts, parseEnrolment } from './enrolment';
import { isEnrolment, readEnrolmentBody } from './enrolment-request';

export interface EnrollerOptions {
  readonly device: () => Promise<Device>;
  readonly list: AllowListSource;
}

/** How often strangers, who name grants that are none, can make this server look at its list anew. */
const LOOK_EVERY_MS = 250;

/**
 * Lets callers into this device's list that hold a grant of it. What a stranger can send is looked at in the order of
 * what it costs, and the list in memory is asked before the one on the disk.
 */
export function createEnroller({ device, list }: EnrollerOptions): Enroller {
  // One after the other: the others of this process would only take the swap away from each other.
  let last: Promise<unknown> = Promise.resolve();
  let look: Promise<void> | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;

  async function enrol(grantId: string, caller: Enrollee) {
    const { trust } = await device();
    const document = await trust.update((current) => enrolCaller(current, grantId, caller, nowSeconds()));
    list.expire?.(); // the caller's next request comes at once
    return document.devices.find(({ deviceId }) => deviceId === caller.deviceId);
  }

  async function current(): Promise<AllowListDocument> {
    const document = documentOf(await readAllowList(list));
    if (document === undefined) throw new AmeshError('allow_list_unavailable');
    return document;
  }

  async function documentWith(grantId: string): Promise<AllowListDocument> {
    const known = await current();
    if (findGrant(known, grantId) !== undefined) return known;
    look ??= lookAgain(); // it may have been given a moment ago
    await look;
    return current();
  }

  /** One for all who wait for it, and the next a while later. */
  async function lookAgain(): Promise<void> {
    await sleep(Math.max(0, lookedAt + LOOK_EVERY_MS - performance.now()));
    lookedAt = performance.now();
    look = undefined;
    list.expire?.();
    await current();
  }

  async function answer(request: EnrolmentRequest) {
    const enrolment = parseEnrolment(await readEnrolmentBody(request.view));
    const { facts } = enrolment;
    const nowMs = request.now();
    assertMeant(facts, (await current()).list, request, nowMs);
    const document = await documentWith(facts.grant);
    const caller = await verify(enrolment, expectGrant(document, facts.grant));
    assertRoom(document, facts.grant, caller);
    await claim(caller, facts, request, nowMs);
    const turn = last.then(() => enrol(facts.grant, caller));
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

/** What costs nothing to look at. */
function assertMeant(
  { target, authority, time }: EnrolmentFacts,
  ownId: string,
  request: EnrolmentRequest,
  nowMs: number,
): void {
  if (target !== ownId) throw refused('The enrolment is for another target.');
  if (authority !== request.authority) throw refused('The enrolment is for another host.');
  throwIf(checkFreshness({ created: time }, nowMs, request.settings, request.nonceStore.startedAt));
}

async function verify(
  { facts, message, grantSignature, callerSignature }: Enrolment,
  grant: Grant,
): Promise<Enrollee> {
  if (!matchesPattern(grant.names, facts.name) || cleanName(facts.name) !== facts.name)
    throw refused('The grant is not for a caller of this name.');
  if (!(await (await importKey(grant.publicKey)).verify(grantSignature, message)))
    throw refused('It is not signed with the key of the grant.');
  if (!(await (await importKey(facts.key)).verify(callerSignature, message)))
    throw refused('It is not signed with the key of the caller that it names.');
  const deviceId = await deviceIdOf(fromBase64Url(facts.key) as Uint8Array, cryptoProvider);
  return { deviceId, publicKey: facts.key, friendlyName: facts.name };
}

/** Before its nonce is remembered: who holds a grant that is over must not fill the nonce store with keys of their own. */
function assertRoom(document: AllowListDocument, grantId: string, caller: Enrollee): void {
  try {
    admit(document, grantId, caller, nowSeconds());
  } catch (error) {
    refuseOnly(error);
  }
}

/** Once per caller, as any request: after the signatures, so that nobody uses up what is another's. */
async function claim(
  { deviceId }: Enrollee,
  { nonce, time }: EnrolmentFacts,
  { nonceStore, settings }: EnrolmentRequest,
  nowMs: number,
): Promise<void> {
  let isNew: boolean;
  try {
    isNew = await nonceStore.claim(deviceId, nonce, keepUntilMs(nonceStore, time, nowMs, settings));
  } catch (cause) {
    throw isAmeshError(cause) ? cause : new AmeshError('nonce_store_unavailable', undefined, { cause });
  }
  if (isNew !== true) throw new AmeshError('replay_detected');
  throwIf(checkStart(time, nonceStore.startedAt, nowMs)); // it may have lost its memory meanwhile
}

function throwIf(stale: Fault | null): void {
  if (stale !== null) throw new AmeshError('timestamp_out_of_range', stale.detail, { fix: stale.fix });
}

async function importKey(text: string): Promise<PublicKey> {
  try {
    return await cryptoProvider.importPublicKey(fromBase64Url(text) ?? new Uint8Array());
  } catch {
    throw new AmeshError('enrolment_malformed', 'The key of the caller is no point of the P-256 curve.');
  }
}

/** A list that would not take this caller is no fault of the server's; one that cannot be written is. */
function refuseOnly(error: unknown): never {
  if (isAmeshError(error) && (error.code === 'own_key' || error.code === 'key_mismatch'))
    throw refused(error.message);
  if (toFault(error) !== null) throw error;
  throw new AmeshError('allow_list_unavailable', 'The allow list cannot be written, so nobody enrols.', {
    fix: 'Check that the folder or store of the list can be written by this process.',
    cause: error,
  });
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

function refused(why: string): AmeshError {
  return new AmeshError('enrolment_refused', why);
}
