import { setTimeout as sleep } from 'node:timers/promises';
import type { AllowListSource } from '../../core/devices/allow-list';
import { AmeshError } from '../../core/errors/amesh-error';
import { readAllowList } from '../../core/verify/device';
import type { Enroller, EnrolmentRequest } from '../../core/verify/enroller';
import type { Device } from '../../trust/device';
import { type Enrollee, enrolCaller, expectGrant, findGrant } from '../../trust/grants';
import type { AllowListDocument } from '../../trust/list/document';
import { documentOf } from '../../trust/list/to-allow-list';
import { isEnrolment, readEnrolmentBody } from './enrolment-endpoint';
import { assertAdmitted, assertForTarget, claimNonce, refuseOnly, verifyEnrolment } from './enrolment-policy';
import { parseEnrolment } from './enrolment-request';

export interface EnrollerOptions {
  readonly device: () => Promise<Device>;
  readonly list: AllowListSource;
}

/** How often strangers who name invented grants can make this server read its list anew. */
const LOOK_EVERY_MS = 250;

/**
 * Lets callers that hold a grant of this device into its list. Strangers can send enrolments, so the checks go in the
 * order of what they cost, and the list in memory is asked before the one on the disk.
 */
export function createEnroller({ device, list }: EnrollerOptions): Enroller {
  // One after the other: two enrolments of this process would only compete for the same swap.
  let last: Promise<unknown> = Promise.resolve();
  let look: Promise<void> | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;

  async function enrol(grantId: string, caller: Enrollee) {
    const { trust } = await device();
    const document = await trust.update((current) =>
      enrolCaller(current, grantId, caller, Math.floor(Date.now() / 1000)),
    );
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
    look ??= lookAgain(); // the grant may have been given a moment ago
    await look;
    return current();
  }

  /** Reads the list once for all that wait for it, and not again for a while. */
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
    assertForTarget(facts, (await current()).list, request, nowMs);
    const document = await documentWith(facts.grant);
    const caller = await verifyEnrolment(enrolment, expectGrant(document, facts.grant));
    assertAdmitted(document, facts.grant, caller);
    await claimNonce(caller, facts, request, nowMs);
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
