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
type Event = readonly [name: EventName, args: unknown[]];

/** What undici lets a handler do with an attempt. */
interface Controller {
  abort?(reason: unknown): void;
  pause?(): void;
  resume?(): void;
}

/** How much of a response is buffered. A refusal of amesh has at most 100 bytes, so a longer response is passed on. */
const HELD_BYTES = 4096;

/** A refusal that is buffered until it is known whether another signature helps. */
interface Held {
  readonly events: Event[];
  readonly again: Promise<boolean>;
  bytes: number;
  /** Whether the response has ended. */
  isWhole: boolean;
}

/** One attempt to send a request. */
interface Attempt extends Pick<SignedRequest, 'answered'> {
  /** Signs and sends the request once more; undefined if that is not possible. */
  readonly resend: (() => void) | undefined;
}

/**
 * What a handler sees of a request, however often that is sent: one start, one controller, and one end. Each response passes through
 * amesh before.
 */
export class Exchange {
  readonly #handler: Handler;
  /** Stays the same in all attempts. */
  readonly #controller = this.#watched();
  /** The controller of undici for the latest attempt; null before the first one has started. */
  #ofAttempt: Controller | null = null;
  /** Whether undici does nothing for this request now, and so does not hear an abort. */
  #isIdle = true;
  /** Whether the handler wants no more data. */
  #isPaused = false;
  #isOver = false;
  #held: Held | undefined;
  /** What a handler that has paused gets later. */
  #queue: Event[] = [];

  constructor(handler: Handler) {
    this.#handler = handler;
  }

  /** Whether the handler was told of an end or an error, after which nothing more may come. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The handler for one attempt. */
  observe(attempt: Attempt): Handler {
    return Object.fromEntries(
      EVENTS.map((name) => [name, (...args: unknown[]) => this.#take(attempt, name, args)]),
    );
  }

  /** As undici does where a handler throws: it is told of the error, and gets nothing more. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    this.#held = undefined;
    this.#queue = [];
    this.#pass('onResponseError', [this.#ofAttempt, error]);
    this.#ofAttempt?.abort?.(error);
  }

  #take(attempt: Attempt, name: EventName, args: unknown[]): unknown {
    if (name === 'onRequestStart') return this.#start(args);
    if (this.#isOver) return name === 'onRequestUpgrade' ? destroy(args[3]) : undefined;
    if (name === 'onResponseError') return this.#end(args);
    if (this.#queue.length > 0) return void this.#queue.push([name, args]);
    if (this.#held !== undefined) return this.#keep(attempt, this.#held, [name, args]);
    const [, status, headers] = args as [unknown, number, Record<string, string | string[]>];
    // Early hints come before the target has read the request, and perhaps from somebody in front of it.
    if (name !== 'onResponseStart' || status < 200) return this.#pass(name, args);
    const again = attempt.answered({ status, headers }).then(
      (heard) => heard.again,
      () => false, // the program gets the response, whose Date shows the time of the server
    );
    const isRefusal = status === 401 && /AuthMesh/.test(String(headers['www-authenticate']));
    if (!isRefusal || attempt.resend === undefined) return this.#pass(name, args);
    this.#held = { events: [[name, args]], again, bytes: 0, isWhole: false };
    if (this.#isPaused) this.#ofAttempt?.resume?.(); // the handler gets nothing of it yet
    return undefined;
  }

  #start([controller, ...more]: unknown[]): unknown {
    const isFirst = this.#ofAttempt === null;
    this.#ofAttempt = controller as Controller;
    if (this.#isOver) return this.#ofAttempt.abort?.(aborted()); // while undici waited for a connection
    this.#isIdle = false;
    if (isFirst) return this.#pass('onRequestStart', [controller, ...more]);
    if (this.#isPaused) this.#ofAttempt.pause?.();
    return undefined;
  }

  /** After an error, undici delivers nothing. What was held is part of a response that the handler may want. */
  #end(args: unknown[]): unknown {
    if (this.#held !== undefined) this.#release(this.#held);
    this.#queue = [];
    return this.#isOver ? undefined : this.#pass('onResponseError', args);
  }

  #keep(attempt: Attempt, held: Held, event: Event): void {
    const [name, args] = event;
    held.events.push(event);
    if (name === 'onResponseData') held.bytes += (args[1] as Uint8Array).length;
    if (held.bytes > HELD_BYTES) this.#release(held);
    else if (name === 'onResponseEnd') {
      held.isWhole = true;
      this.#isIdle = true;
      this.#decide(attempt, held).catch((error) => this.fail(error));
    }
  }

  async #decide({ resend }: Attempt, held: Held): Promise<void> {
    const again = await held.again;
    if (this.#isOver) return;
    if (!again) return this.#release(held);
    this.#held = undefined;
    resend?.();
  }

  #release({ events, isWhole }: Held): void {
    this.#held = undefined;
    this.#queue = events;
    if (this.#isPaused && !isWhole) this.#ofAttempt?.pause?.();
    this.#flush();
  }

  #flush(): void {
    while (!this.#isPaused && !this.#isOver) {
      const [name, args] = this.#queue.shift() ?? [];
      if (name === undefined) return;
      try {
        this.#pass(name, args ?? []);
      } catch (error) {
        this.fail(error);
      }
    }
  }

  #pass(name: EventName, [, ...args]: unknown[]): unknown {
    if (name === 'onResponseError') this.#isOver = true;
    const controller = this.#ofAttempt === null ? null : this.#controller;
    const returned = this.#handler[name]?.(controller, ...args);
    if (name === 'onResponseEnd' || name === 'onRequestUpgrade') this.#isOver = true;
    return returned;
  }

  /** The controller of the latest attempt, as the handler sees it. */
  #watched(): Controller {
    const own = {
      abort: (reason: unknown) => this.#abort(reason),
      pause: () => this.#pause(),
      resume: () => this.#resume(),
    };
    return new Proxy(own, {
      get: (_, name) => {
        if (name in own) return Reflect.get(own, name);
        if (name === 'paused') return this.#isPaused;
        const of = this.#ofAttempt ?? {};
        const value = Reflect.get(of, name, of);
        return typeof value === 'function' ? value.bind(of) : value;
      },
    });
  }

  #abort(reason: unknown): void {
    this.#held = undefined;
    this.#queue = [];
    if (this.#isIdle) this.fail(reason ?? aborted());
    else this.#ofAttempt?.abort?.(reason);
  }

  #pause(): void {
    this.#isPaused = true;
    if (this.#held === undefined) this.#ofAttempt?.pause?.();
  }

  #resume(): void {
    this.#isPaused = false;
    this.#flush();
    if (!this.#isPaused) this.#ofAttempt?.resume?.();
  }
}

/** The error of an abort without a reason. */
function aborted(): Error {
  return new DOMException('This operation was aborted', 'AbortError');
}

/** Nobody takes this socket any more. */
function destroy(socket: unknown): void {
  (socket as { destroy?(): void } | undefined)?.destroy?.();
}
