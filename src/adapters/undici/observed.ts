import type { SignedRequest } from '../../core/sign/unsent/sign-unsent';

/** A handler of undici, with the methods of version 7. */
export type Handler = Readonly<Partial<Record<(typeof EVENTS)[number], (...args: unknown[]) => unknown>>>;

const EVENTS = [
  'onRequestStart',
  'onRequestUpgrade',
  'onResponseStart',
  'onResponseData',
  'onResponseEnd',
  'onResponseError',
] as const;

/** How much of a response is buffered. A refusal of amesh has at most 100 bytes, so a longer response is passed on. */
const HELD_BYTES = 4096;

/** A refusal that is buffered until it is known whether another signature helps. */
interface Held {
  readonly events: [(typeof EVENTS)[number], unknown[]][];
  readonly again: Promise<boolean>;
  bytes: number;
}

/**
 * A handler that passes the response to amesh before it passes it on.
 *
 * @param resend signs and sends the request once more; undefined if that is not possible
 */
export function observed(
  handler: Handler,
  { answered }: Pick<SignedRequest, 'answered'>,
  resend: (() => void) | undefined,
): Handler {
  let held: Held | undefined;
  const pass = (name: (typeof EVENTS)[number], args: unknown[]) => handler[name]?.(...args);
  const release = ({ events }: Held) => {
    held = undefined;
    for (const [name, args] of events) pass(name, args);
  };
  const keep = (own: Held, name: (typeof EVENTS)[number], args: unknown[]) => {
    own.events.push([name, args]);
    if (name === 'onResponseData') own.bytes += (args[1] as Uint8Array).length;
    if (own.bytes > HELD_BYTES) release(own);
    else if (name === 'onResponseEnd')
      own.again.then((again) => {
        if (again) resend?.();
        else release(own);
      });
  };
  const take = (name: (typeof EVENTS)[number], args: unknown[]) => {
    if (held !== undefined && name === 'onResponseError') release(held);
    if (held !== undefined) return keep(held, name, args);
    if (name !== 'onResponseStart') return pass(name, args);
    const [, status, headers] = args as [unknown, number, Record<string, string | string[]>];
    const again = answered({ status, headers }).then(
      (heard) => heard.again,
      () => false, // the program gets the response, whose Date shows the time of the server
    );
    if (status !== 401 || resend === undefined || !/AuthMesh/.test(String(headers['www-authenticate'])))
      return pass(name, args);
    held = { events: [[name, args]], again, bytes: 0 };
    return undefined;
  };
  return Object.fromEntries(EVENTS.map((name) => [name, (...args: unknown[]) => take(name, args)]));
}
