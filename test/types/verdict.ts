// What a verdict tells, read as adapters and handlers read it. Nothing here runs: it has to compile.
import { createAmesh } from '@authmesh/sdk';
import {
  type Accepted,
  type Answer,
  type Answered,
  type AuthMeshIdentity,
  createVerifier,
  type Refused,
  type RequestView,
  type Verdict,
  type VerifierOptions,
} from '@authmesh/sdk/core';

declare const view: RequestView;
declare const request: Request;
declare const options: VerifierOptions;
type RefusalCode = Refused['code'];

/** Each of the three cases has its own facts. */
export function read(verdict: Verdict<RequestView>): AuthMeshIdentity | RefusalCode | Answer {
  switch (verdict.kind) {
    case 'accepted': {
      const accepted: Accepted<RequestView> = verdict;
      // @ts-expect-error who may pass is not answered
      accepted.answer;
      return accepted.caller;
    }
    case 'refused': {
      const refused: Refused = verdict;
      // @ts-expect-error who is refused has no caller: nobody has proved to be one
      refused.caller;
      return refused.code;
    }
    case 'answered': {
      const answered: Answered = verdict;
      // @ts-expect-error an enrolment is no refusal
      answered.code;
      const isUnread: false = answered.bodyUnread;
      return isUnread || answered.answer;
    }
  }
}

/** `ok` alone is enough for whether handlers run. */
export async function serve(): Promise<Response> {
  const verdict = await createAmesh().verifier().verify(request);
  // @ts-expect-error not known to have passed yet
  verdict.caller;
  if (!verdict.ok) return verdict.response;
  const passed: Request = verdict.request;
  // @ts-expect-error what was verified does not change
  verdict.caller.deviceId = 'am_';
  return new Response(`${verdict.caller.friendlyName} ${passed.url}`);
}

/** A verifier of the core answers no enrolment, so that its verdict has two cases. */
export async function verify(): Promise<RefusalCode | undefined> {
  const verdict = await createVerifier(options).verify(view);
  const two: Accepted<RequestView> | Refused = verdict;
  return two.ok ? undefined : two.code;
}
