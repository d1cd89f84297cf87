import { toFault } from '../../core/errors/fault';
import { RateLimit } from '../../core/rate-limit';
import type { EnrolmentRequest } from '../../core/verify/enroller';
import { mayProveTime } from '../../core/verify/freshness';
import type { PagedList } from '../../trust/format/paged-list';
import { expectGrant } from '../../trust/grants';
import { assertAdmitted, claimNonce, verifyEnrolment } from './enrolment-policy';
import type { Enrolment } from './enrolment-request';

/**
 * How many enrolments of one grant are voided. They do not use up the grant, and each may name another key, so nothing else keeps
 * somebody with a grant from filling the nonce store.
 */
const VOIDED = { burst: 64, everyMs: 1000 };

/**
 * Voids enrolments that are refused for their time: claims the nonce, if nothing but the time is wrong.
 *
 * @returns a function that says whether the enrolment will never be carried out, so that its refusal may be signed
 */
export function createVoiding() {
  const limit = new RateLimit(VOIDED);
  return async (
    enrolment: Enrolment,
    list: PagedList,
    request: EnrolmentRequest,
    nowMs: number,
  ): Promise<boolean> => {
    const { facts } = enrolment;
    const { isAsked, nonceStore } = request;
    if (!isAsked || !mayProveTime(facts.time, nowMs, nonceStore.startedAt)) return false;
    try {
      const caller = await verifyEnrolment(enrolment, expectGrant(list.head, facts.grant));
      assertAdmitted(list, facts.grant, caller);
      if (!limit.take(facts.grant, nowMs)) return false;
      await claimNonce(caller, facts, request, nowMs).catch((error) => {
        limit.giveBack(facts.grant); // not counted, since anybody who has recorded an enrolment can send it again and again
        throw error;
      });
      return true;
    } catch (error) {
      // Whatever else is wrong, the caller gets the same answer.
      if ((toFault(error)?.facts.status ?? 500) < 500) return false;
      throw error;
    }
  };
}
