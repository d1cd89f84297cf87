import type { ClientRefusal } from '../core/sign/refusal';
import type { Refusal } from '../core/verify/refusal';
import type { Env } from './home';

/** A code is logged at most this often, so that strangers cannot fill the disk. */
const EVERY_MS = 10_000;
/** The least time between two lines about one topic. */
const SELDOM_MS = 300_000;
/** How many lines and topics are remembered: strangers choose the content of some. */
const MAX_REMEMBERED = 1000;

/** Everything that amesh logs itself, on stderr. */
export interface Log {
  /**
   * Logs why a request was refused: the first refusal of each code, then one line per 10 s with the number of others; all refusals
   * with `DEBUG=amesh`.
   */
  refusal(refusal: Refusal): void;
  /** Logs why a server refused our request; only with `DEBUG=amesh`, since the response says it, too. */
  clientRefusal(refusal: ClientRefusal): void;
  /** Logs a line once per process; again if 1,000 other lines came since. */
  once(line: string): void;
  /** Logs a line about a topic, at most one in five minutes. */
  seldom(topic: string, line: string): void;
}

/** The log state of one code. */
interface Printed {
  /** When the last line was written, Unix milliseconds. */
  readonly atMs: number;
  /** How many refusals have followed since then. */
  more: number;
  /** The newest of them. */
  latest?: Refusal;
  /** Logs the newest one at the end of the 10 s. */
  timer?: ReturnType<typeof setTimeout>;
}

/** In runtimes without a process to keep alive, timers are numbers. */
function unref<T>(timer: T): T {
  (timer as { unref?(): void }).unref?.();
  return timer;
}

const once = new Map<string, number>();

/** Logs a line on stderr, once per process; again if 1,000 other lines came since. */
export function warnOnce(line: string, write: (line: string) => void = (text) => console.warn(text)): void {
  const isNew = !once.has(line);
  remember(once, line);
  if (isNew) write(`amesh: ${line}`);
}

/** Puts a text at the end, so that the oldest text is forgotten first. */
function remember(all: Map<string, number>, text: string, atMs = 0): void {
  all.delete(text);
  all.set(text, atMs);
  if (all.size > MAX_REMEMBERED) all.delete(all.keys().next().value as string);
}

/**
 * @param home where the identity is, in words, shown if another folder is the usual cause; null if there is none
 * @param write writes a line
 */
export function createLog(
  env: Env,
  home: string | null,
  write: (line: string) => void = (line) => console.warn(line),
): Log {
  const debug = /(?:^|[\s,"'])(?:amesh|\*)(?:$|[\s,*:"'])/.test(env.DEBUG ?? '');
  const printed = new Map<string, Printed>();
  const told = new Map<string, number>();
  const print = (refusal: Refusal, more: number) => {
    clearTimeout(printed.get(refusal.code)?.timer);
    printed.set(refusal.code, { atMs: Date.now(), more: 0 });
    write(describe(refusal, home, debug) + (more > 0 ? ` (${more} more like it since)` : ''));
  };

  return {
    refusal(refusal) {
      const state = printed.get(refusal.code);
      // Math.abs, so that setting the clock back does not silence the log until the old time.
      const waitMs = state === undefined ? 0 : EVERY_MS - Math.abs(Date.now() - state.atMs);
      if (debug || state === undefined || waitMs <= 0) {
        print(refusal, state?.more ?? 0);
        return;
      }
      state.more++;
      state.latest = refusal;
      // The last one of a series is logged, too, even if no other follows.
      state.timer ??= unref(setTimeout(() => print(state.latest as Refusal, state.more - 1), waitMs));
    },
    clientRefusal({ status, code, url, detail, fix }) {
      if (debug) write(`amesh: ${status} ${code} from ${visible(url)}: ${detail} ${fix}`);
    },
    once: (line) => warnOnce(line, write),
    seldom(topic, line) {
      const nowMs = Date.now();
      if (Math.abs(nowMs - (told.get(topic) ?? Number.NEGATIVE_INFINITY)) < SELDOM_MS) return;
      remember(told, topic, nowMs);
      write(`amesh: ${line}`);
    },
  };
}

/** Faults that depend on the list in one folder. `amesh` in a shell may use another folder. */
const ABOUT_THE_LIST: ReadonlySet<string> = new Set([
  'unknown_device',
  'role_not_allowed',
  'device_expired',
  'scope_missing',
  'wrong_host',
  'allow_list_integrity_failure',
]);

function describe(
  { status, code, detail, fix, request, cause }: Refusal,
  home: string | null,
  debug: boolean,
): string {
  const { method, authority, target, deviceId, covered } = request;
  const where = home !== null && ABOUT_THE_LIST.has(code) ? ` (${visible(home)})` : '';
  const parts = [
    `amesh: refused ${status} ${code}: ${visible(detail)} ${fix}${where}`,
    `[${visible(method)} ${visible(authority)}${debug ? visible(target) : withoutQuery(target)}`,
    ...(deviceId === undefined ? [] : [`from ${deviceId}`]),
    ...(covered === undefined ? [] : [`covering ${covered.map((name) => visible(name)).join(' ')}`]),
  ];
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : '';
  const isSaid = `${detail} ${fix}`.includes(reason);
  return `${parts.join(' ')}]${isSaid ? '' : ` (${visible(reason)})`}`;
}

/** A query may contain secrets. That there is one, and its length, are enough to see whether a proxy changes it. */
function withoutQuery(target: string): string {
  const mark = target.indexOf('?');
  if (mark === -1) return visible(target);
  return `${visible(target.slice(0, mark))}?… (${target.length - mark - 1} characters)`;
}

/** A stranger's text on one line, shortened, without control characters. */
function visible(text: string): string {
  return text
    .slice(0, 300)
    .replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
