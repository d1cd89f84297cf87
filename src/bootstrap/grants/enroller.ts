import type { AllowListSource } from '../../core/devices/allow-list';
import type { Enroller, EnrolmentRequest } from '../../core/verify/enroller';
import type { Device } from '../../trust/device';
import { type Enrollee, enrolCaller, expectGrant } from '../../trust/grants';
import { isEnrolment, readEnrolmentBody } from './enrolment-endpoint';
import { assertAdmitted, assertForTarget, claimNonce, refuseOnly, verifyEnrolment } from './enrolment-policy';
import { parseEnrolment } from './enrolment-request';
import { GrantLookup } from './grant-lookup';

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
  // One at a time: two enrolments in this process would only compete for the same swap.
  let last: Promise<unknown> = Promise.resolve();

  async function enrol(grantId: string, caller: Enrollee) {
    const { trust } = await device();
    const { result } = await trust.update(async (draft) => {
      await enrolCaller(draft, grantId, caller, Math.floor(Date.now() / 1000));
      return draft.device(caller.deviceId);
    });
    list.expire?.(); // the caller's next request comes at once
    return result;
  }

  async function answer(request: EnrolmentRequest) {
    const body = await readEnrolmentBody(request.view);
    const enrolment = parseEnrolment(body);
    const { facts } = enrolment;
    const nowMs = request.now();
    assertForTarget(facts, await lookup.current(), request, nowMs);
    const current = await lookup.listWith(facts.grant);
    const caller = await verifyEnrolment(enrolment, expectGrant(current.head, facts.grant));
    request.onVerified(body);
    assertAdmitted(current, facts.grant, caller);
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
