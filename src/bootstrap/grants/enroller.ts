import type { AllowListSource } from '../../core/devices/allow-list';
import type { Enroller, EnrolmentRequest } from '../../core/verify/enroller';
import type { Device } from '../../trust/device';
import { type Enrollee, enrolCaller, expectGrant } from '../../trust/grants';
import { isEnrolment, readEnrolmentBody } from './enrolment-endpoint';
import {
  assertAdmitted,
  assertForTarget,
  checkTime,
  claimNonce,
  refuseOnly,
  verifyEnrolment,
} from './enrolment-policy';
import { parseEnrolment } from './enrolment-request';
import { GrantLookup } from './grant-lookup';
import { createVoiding } from './void-enrolment';

export interface EnrollerOptions {
  readonly device: () => Promise<Device>;
  readonly list: AllowListSource;
}

/**
 * Adds callers that have a grant of this device to its list. Strangers can send enrolments, so the cheap checks come
 * first, and the list in memory is used before the stored one.
 */
export function createEnroller({ device, list }: EnrollerOptions): Enroller {
  const lookup = new GrantLookup(list);
  const isVoided = createVoiding();
  // One at a time: two enrolments in this process would only compete for the same swap.
  let last: Promise<unknown> = Promise.resolve();

  async function enrol(grantId: string, caller: Enrollee) {
    const { trust } = await device();
    const { result } = await trust.update(async (draft) => {
      await enrolCaller(draft, grantId, caller, Math.floor(Date.now() / 1000));
      return draft.device(caller.deviceId);
    });
    list.expire?.(); // the next request of the caller comes immediately
    return result;
  }

  async function answer(request: EnrolmentRequest) {
    const body = await readEnrolmentBody(request.view);
    const enrolment = parseEnrolment(body);
    const { facts } = enrolment;
    const nowMs = request.now();
    const known = await lookup.current();
    assertForTarget(facts, known, request);
    const late = checkTime(facts, request, nowMs);
    if (late !== null) {
      if (await isVoided(enrolment, known, request, nowMs)) request.sign(body);
      throw late;
    }
    const current = await lookup.listWith(facts.grant);
    const caller = await verifyEnrolment(enrolment, expectGrant(current.head, facts.grant));
    request.sign(body);
    assertAdmitted(current, facts.grant, caller);
    request.sign(null); // a repeated enrolment gets no signed refusal: its first answer was another one, and may be lost
    await claimNonce(caller, facts, request, nowMs);
    request.sign(body);
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
