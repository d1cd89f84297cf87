import { asksForProof, enrolmentNonce } from '../../core/answers/answer';
import { createProof } from '../../core/answers/proof';
import { toUtf8 } from '../../core/encoding';
import { Fault } from '../../core/errors/fault';
import { type Incoming, readLine } from '../../core/verify/checks';
import { readAllowList } from '../../core/verify/device';
import type { Enroller } from '../../core/verify/enroller';
import { checkHost } from '../../core/verify/host';
import { type Answered, answered, withHeaders } from '../../core/verify/verdict';
import { fieldValue } from '../../core/wire/view';

/** How a verifier handles enrolments. No device in the list has signed them, and no handler sees them. */
export function toAnswer(enroller: Enroller): (request: Incoming) => Promise<Answered | Fault> | null {
  return (request) => (enroller.matches(request.view) ? answer(request, enroller) : null);
}

async function answer(request: Incoming, enroller: Enroller): Promise<Answered | Fault> {
  const { settings, source, now, nonceStore, proofs, crypto } = request.context;
  const { view } = request;
  const line = readLine(request);
  if (line instanceof Fault) return line;
  const list = await readAllowList(source);
  const stray = checkHost(settings, view, line, list);
  if (stray !== null) return stray;
  const { authority } = line;
  const isAsked = proofs !== undefined && asksForProof(view.headers);
  const sign = (body: Uint8Array | null) => {
    request.ownProof =
      !isAsked || body === null
        ? undefined
        : createProof(proofs, {
            method: view.method,
            nonce: () => enrolmentNonce(body, crypto),
            named: fieldValue(view.headers, 'authmesh-target'),
            list,
          });
  };
  const value = await enroller.answer({ view, authority, now, settings, nonceStore, isAsked, sign });
  return signed(request, answered(value));
}

async function signed({ ownProof }: Incoming, verdict: Answered): Promise<Answered> {
  const { status, headers, body } = verdict.answer;
  const added = await ownProof?.sign({ status, headers, body: toUtf8(body) });
  return added == null ? verdict : withHeaders(verdict, added);
}
