import type { ClientRejection } from './core/client/refusal';
import type { Rejection } from './core/rejection';
import type { Env } from './trust/home';

/** A code is printed at most this often; a stranger must not be able to fill the disk. */
const EVERY_MS = 10_000;

/** What amesh prints by itself, all of it on stderr. */
export interface Log {
  /** Why a request was refused: the first of each code, and then one each 10 s; all of them with `DEBUG=amesh`. */
  rejection(rejection: Rejection): void;
  /** Why a server has refused us; only with `DEBUG=amesh`, since the response says it too. */
  clientRejection(rejection: ClientRejection): void;
  /** A line that is printed once in a process. */
  once(line: string): void;
}

const printed = new Set<string>();

/** Prints a line, on stderr and once in a process. */
export function warnOnce(line: string, write: (line: string) => void = (text) => console.warn(text)): void {
  if (printed.has(line)) return;
  printed.add(line);
  write(`amesh: ${line}`);
}

/**
 * @param home where the identity lies, in words, said where another place is the usual cause; null where there is none
 * @param write where the lines go
 */
export function createLog(
  env: Env,
  home: string | null,
  write: (line: string) => void = (line) => console.warn(line),
): Log {
  const debug = /(?:^|[\s,"'])(?:amesh|\*)(?:$|[\s,*:"'])/.test(env.DEBUG ?? '');
  const last = new Map<string, { atMs: number; more: number }>();

  return {
    rejection(rejection) {
      const state = last.get(rejection.code);
      const nowMs = Date.now();
      // Either way: a clock that was set back must not keep the log silent until its old time comes again.
      if (!debug && state !== undefined && Math.abs(nowMs - state.atMs) < EVERY_MS) {
        state.more++;
        return;
      }
      last.set(rejection.code, { atMs: nowMs, more: 0 });
      write(describe(rejection, home, debug) + (state?.more ? ` (${state.more} more like it since)` : ''));
    },
    clientRejection({ status, code, url, message, fix }) {
      if (debug) write(`amesh: ${status} ${code} from ${visible(url)}: ${message} ${fix}`);
    },
    once: (line) => warnOnce(line, write),
  };
}

/** What is said of a list is said of one folder, and `amesh` in a shell may be looking at another. */
const ABOUT_THE_LIST: ReadonlySet<string> = new Set([
  'unknown_device',
  'role_not_allowed',
  'wrong_host',
  'allow_list_integrity_failure',
]);

function describe(
  { status, code, message, fix, request, cause }: Rejection,
  home: string | null,
  debug: boolean,
): string {
  const { method, authority, target, deviceId, covered } = request;
  const where = home !== null && ABOUT_THE_LIST.has(code) ? ` (${visible(home)})` : '';
  const parts = [
    `amesh: refused ${status} ${code}: ${visible(message)} ${fix}${where}`,
    `[${visible(method)} ${visible(authority)}${debug ? visible(target) : withoutQuery(target)}`,
    ...(deviceId === undefined ? [] : [`from ${deviceId}`]),
    ...(covered === undefined ? [] : [`covering ${covered.map((name) => visible(name)).join(' ')}`]),
  ];
  const reason = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : '';
  const isSaid = `${message} ${fix}`.includes(reason);
  return `${parts.join(' ')}]${isSaid ? '' : ` (${visible(reason)})`}`;
}

/** A query may hold secrets. That there is one, and how long, is enough to see whether a proxy changes it. */
function withoutQuery(target: string): string {
  const mark = target.indexOf('?');
  if (mark === -1) return visible(target);
  return `${visible(target.slice(0, mark))}?… (${target.length - mark - 1} characters)`;
}

/** A stranger's text on one line, short, and without anything that a terminal obeys. */
function visible(text: string): string {
  return text
    .slice(0, 300)
    .replace(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
