import { Fault } from '../../core/errors/fault';
import { type Incoming, readLine } from '../../core/verify/checks';
import { readAllowList } from '../../core/verify/device';
import type { Enroller } from '../../core/verify/enroller';
import { checkHost } from '../../core/verify/host';
import { type Answered, answered } from '../../core/verify/verdict';

/** How a verifier handles enrolments: no listed device signed them, and no handler sees them. */
export function toAnswer(enroller: Enroller): (request: Incoming) => Promise<Answered | Fault> | null {
  return (request) => (enroller.matches(request.view) ? answer(request, enroller) : null);
}

async function answer(request: Incoming, enroller: Enroller): Promise<Answered | Fault> {
  const { settings, source, now, nonceStore } = request.context;
  const { view } = request;
  const line = readLine(request);
  if (line instanceof Fault) return line;
  const stray = checkHost(settings, view, line, await readAllowList(source));
  if (stray !== null) return stray;
  const { authority } = line;
  return answered(await enroller.answer({ view, authority, now, settings, nonceStore }));
}
