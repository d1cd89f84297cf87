import type { Writable } from 'node:stream';
import { printable, printableJson } from '../words/printable';
import type { OwnAnswer, ProxyResponse } from './reply';

/** Where a proxy writes its log. */
export interface JournalOptions {
  /** With `--json`: one object per line, each with `event`. */
  readonly json?: Writable;
  /** Otherwise: a line for the first failure of each code, and then at most one in 10 s. */
  readonly failures?: Writable;
}

/** The log of a proxy about its requests. */
export class Journal {
  readonly #out: Writable | undefined;
  readonly #failures: Writable | undefined;
  /** For each code: when its last line was written, Unix milliseconds, and how many failures since then have no line. */
  readonly #told = new Map<string, { atMs: number; more: number }>();
  #lines = '';
  #timer: NodeJS.Timeout | undefined;
  #secondOf = 0;
  #inSecond = 0;
  #left = 0;
  /** How many requests the server behind the proxy has answered, and how many the proxy has answered itself. */
  readonly counts = { passed: 0, refused: 0 };

  constructor({ json, failures }: JournalOptions) {
    this.#out = json;
    this.#failures = failures;
  }

  /** Writes an event that strangers cannot cause often. Events of the same moment are written together. */
  write(event: string, more: object = {}): void {
    if (this.#out === undefined) return;
    this.#lines += `${printableJson({ event, ...more })}\n`;
    if (this.#lines.length > MOST_LENGTH) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  /** Writes the events that wait. Call it at the end. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#lines !== '') this.#out?.write(this.#lines);
    this.#lines = '';
  }

  /** Notes a request that was passed on. */
  passed(more: object): void {
    this.counts.passed++;
    this.write('request', more);
  }

  /** The same, once the response has ended. */
  passedWith(response: ProxyResponse, { request, status, startMs, caller }: Passed): void {
    if (this.#out === undefined) {
      this.counts.passed++;
      return;
    }
    response.once('close', () =>
      this.passed({
        method: request.method,
        path: shownPath(request.url),
        status,
        ...(caller !== undefined && { caller }),
        ms: Math.round(performance.now() - startMs),
        ...(!response.writableFinished && { isCut: true }),
      }),
    );
  }

  /** Notes a request that this proxy has answered itself, or whose response broke off. */
  failed(
    { method, url }: Passed['request'],
    { status, code, message }: OwnAnswer,
    startMs: number,
    nowMs = Date.now(),
  ): void {
    const path = shownPath(url);
    const ms = Math.round(performance.now() - startMs);
    this.refused({ method, path, status, code, message, ms }, nowMs);
    const told = this.#told.get(code);
    if (told !== undefined && Math.abs(nowMs - told.atMs) < EVERY_MS) {
      told.more++;
      return;
    }
    this.#told.set(code, { atMs: nowMs, more: 0 });
    const more = told === undefined || told.more === 0 ? '' : ` (${told.more} more like it before)`;
    this.#failures?.write(
      `${printable(`amesh: ${status} ${code}: ${message} [${method} ${path}]${more}`)}\n`,
    );
  }

  /** Notes a request that was not passed on, or failed. Strangers can cause many, so there are at most 20 lines a second. */
  refused(more: object, nowMs = Date.now()): void {
    this.counts.refused++;
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#secondOf) {
      this.#secondOf = second;
      this.#inSecond = 0;
    }
    if (++this.#inSecond > MOST_IN_A_SECOND) {
      this.#left++;
      return;
    }
    const left = this.#left === 0 ? {} : { leftOut: this.#left };
    this.#left = 0;
    this.write('refused', { ...more, ...left });
  }
}

/** A request whose response is passed on. */
interface Passed {
  readonly request: { readonly method?: string | undefined; readonly url?: string | undefined };
  readonly status: number;
  /** When the request arrived, by `performance.now()`. */
  readonly startMs: number;
  /** The ID of the device that signed it, if that was verified here. */
  readonly caller?: string;
}

const MOST_IN_A_SECOND = 20;
const EVERY_MS = 10_000;
const FLUSH_MS = 50;
const MOST_LENGTH = 16_384;

/**
 * A path for a log, not longer than a line. It leaves out the query, which may contain secrets, and everything before the path of
 * an absolute form, which may contain a password.
 */
export function shownPath(target = ''): string {
  const [sent = ''] = target.split(/[?#]/, 1);
  const path = /^[/*]|^$/.test(sent) ? sent : sent.replace(/^[^/\\]*(?:[/\\]+[^/\\]*)?/, '') || '/';
  return path.length > 200 ? `${path.slice(0, 199)}…` : path;
}
