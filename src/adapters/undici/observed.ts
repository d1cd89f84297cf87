import type { SignedRequest } from '../../core/sign/unsent/sign-unsent';

/** A handler of undici, with the methods of version 7. */
export type Handler = Readonly<Partial<Record<EventName, (...args: unknown[]) => unknown>>>;

const EVENTS = [
  'onRequestStart',
  'onRequestUpgrade',
  'onResponseStart',
  'onResponseData',
  'onResponseEnd',
  'onResponseError',
] as const;

type EventName = (typeof EVENTS)[number];

/** What undici lets a handler do with a request. */
interface Controller {
  abort?(reason: unknown): void;
}

/** How much of a response is buffered. A refusal of amesh has at most 100 bytes, so a longer response is passed on. */
const HELD_BYTES = 4096;

/** A refusal that is buffered until it is known whether another signature helps. */
interface Held {
  readonly events: [EventName, unknown[]][];
  readonly again: Promise<boolean>;
  bytes: number;
  /** Whether the response has ended. */
  isWhole: boolean;
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
  let isOver = false;
  const pass = (name: EventName, args: unknown[]) => handler[name]?.(...args);
  /** As undici does where a handler throws: it is told of its own error, and gets nothing more of the response. */
  const fail = (controller: unknown, error: unknown) => {
    if (isOver) return;
    isOver = true;
    held = undefined;
    pass('onResponseError', [controller, error]);
    (controller as Controller | null)?.abort?.(error);
  };
  const release = ({ events }: Held) => {
    held = undefined;
    for (const [name, args] of events)
      try {
        if (!isOver) pass(name, args);
      } catch (error) {
        fail(args[0], error);
      }
  };
  const keep = (own: Held, name: EventName, args: unknown[]) => {
    own.events.push([name, args]);
    if (name === 'onResponseData') own.bytes += (args[1] as Uint8Array).length;
    if (own.bytes > HELD_BYTES) return release(own);
    if (name !== 'onResponseEnd') return undefined;
    own.isWhole = true;
    const ended = own.again.then((again) => {
      if (isOver) return;
      if (again) resend?.();
      else release(own);
    });
    ended.catch((error) => fail(args[0], error));
    return undefined;
  };
  const take = (name: EventName, args: unknown[]) => {
    if (isOver) return undefined;
    if (name === 'onRequestStart') {
      const [controller, ...more] = args;
      const aborted = (reason: unknown) => held?.isWhole && fail(controller, reason);
      return pass(name, [watched(controller as Controller, aborted), ...more]);
    }
    if (held !== undefined && name === 'onResponseError') release(held);
    if (isOver) return undefined;
    if (held !== undefined) return keep(held, name, args);
    const [, status, headers] = args as [unknown, number, Record<string, string | string[]>];
    // Early hints come before the target has read the request, and perhaps from somebody in front of it.
    if (name !== 'onResponseStart' || status < 200) return pass(name, args);
    const again = answered({ status, headers }).then(
      (heard) => heard.again,
      () => false, // the program gets the response, whose Date shows the time of the server
    );
    if (status !== 401 || resend === undefined || !/AuthMesh/.test(String(headers['www-authenticate'])))
      return pass(name, args);
    held = { events: [[name, args]], again, bytes: 0, isWhole: false };
    return undefined;
  };
  return Object.fromEntries(EVENTS.map((name) => [name, (...args: unknown[]) => take(name, args)]));
}

/**
 * The same controller, which also says when it is aborted: undici no longer hears that after the end of a response.
 */
function watched(controller: Controller, aborted: (reason: unknown) => void): Controller {
  return new Proxy(controller, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        const returned = Reflect.apply(value, target, args);
        if (name === 'abort') aborted(args[0]);
        return returned;
      };
    },
  });
}
