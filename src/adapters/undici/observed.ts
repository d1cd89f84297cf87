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
  const observer = new Observer(handler, answered, resend);
  return Object.fromEntries(EVENTS.map((name) => [name, (...args: unknown[]) => observer.take(name, args)]));
}

class Observer {
  #held: Held | undefined;
  /** Whether the handler was told of an error, after which nothing more may come. */
  #isOver = false;

  constructor(
    readonly handler: Handler,
    readonly answered: SignedRequest['answered'],
    readonly resend: (() => void) | undefined,
  ) {}

  take(name: EventName, args: unknown[]): unknown {
    if (name === 'onRequestStart') return this.#start(args);
    if (this.#held !== undefined && name === 'onResponseError') this.#release(this.#held);
    if (this.#isOver) return undefined;
    if (this.#held !== undefined) return this.#keep(this.#held, name, args);
    const [, status, headers] = args as [unknown, number, Record<string, string | string[]>];
    // Early hints come before the target has read the request, and perhaps from somebody in front of it.
    if (name !== 'onResponseStart' || status < 200) return this.#pass(name, args);
    const again = this.answered({ status, headers }).then(
      (heard) => heard.again,
      () => false, // the program gets the response, whose Date shows the time of the server
    );
    const isRefusal = status === 401 && /AuthMesh/.test(String(headers['www-authenticate']));
    if (!isRefusal || this.resend === undefined) return this.#pass(name, args);
    this.#held = { events: [[name, args]], again, bytes: 0, isWhole: false };
    return undefined;
  }

  #start([controller, ...more]: unknown[]): unknown {
    const aborted = (reason: unknown) => this.#held?.isWhole && this.#fail(controller, reason);
    return this.#pass('onRequestStart', [watched(controller as Controller, aborted), ...more]);
  }

  #keep(held: Held, name: EventName, args: unknown[]): void {
    held.events.push([name, args]);
    if (name === 'onResponseData') held.bytes += (args[1] as Uint8Array).length;
    if (held.bytes > HELD_BYTES) this.#release(held);
    else if (name === 'onResponseEnd') {
      held.isWhole = true;
      this.#decide(held).catch((error) => this.#fail(args[0], error));
    }
  }

  async #decide(held: Held): Promise<void> {
    const again = await held.again;
    if (this.#isOver) return;
    if (again) this.resend?.();
    else this.#release(held);
  }

  #release({ events }: Held): void {
    this.#held = undefined;
    for (const [name, args] of events)
      try {
        if (!this.#isOver) this.#pass(name, args);
      } catch (error) {
        this.#fail(args[0], error);
      }
  }

  /** As undici does where a handler throws: it is told of its own error, and gets nothing more of the response. */
  #fail(controller: unknown, error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#held = undefined;
    this.#pass('onResponseError', [controller, error]);
    (controller as Controller | null)?.abort?.(error);
  }

  #pass(name: EventName, args: unknown[]): unknown {
    return this.handler[name]?.(...args);
  }
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
