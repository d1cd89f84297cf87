import type { MaybePromise } from '../crypto/provider';
import { REQUEST_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import type { Credentials } from '../wire/credentials';
import type { RequestLine } from '../wire/line';
import { isPrivateChannel } from '../wire/private-channel';
import { headerLines, type RequestView } from '../wire/view';
import { type Change, type Spelling, spellingsOf } from './spellings';

/** Whether the signature of a request is right for another line than that with which it came. */
export type Try = (line: RequestLine) => MaybePromise<unknown>;

/** Finds what was done to a request with a wrong signature; null where nothing is found. */
export type Explain = (
  attempt: Try,
  line: RequestLine,
  view: RequestView,
  hosts: Iterable<string>,
) => MaybePromise<Fault | null>;

/**
 * The most that strangers can make a server do: each attempt costs up to 64 verifications, some 4 ms. Ten at once, and then
 * one a second.
 */
const [MAX_TRIES, MAX_ATTEMPTS, REFILL_MS] = [64, 10, 1000];

/** How many attempts are left. */
class Attempts {
  #left = MAX_ATTEMPTS;
  #filledAtMs = performance.now();

  /** @returns whether there was one */
  take(): boolean {
    const gained = Math.floor((performance.now() - this.#filledAtMs) / REFILL_MS);
    this.#left = Math.min(MAX_ATTEMPTS, this.#left + gained);
    this.#filledAtMs += gained * REFILL_MS;
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }
}

/** By allow list: an application may have a verifier for each of a hundred routes. */
const attemptsOf = new WeakMap<object, Attempts>();

/**
 * Explains within its limits, and for the log alone.
 *
 * @param allowList all verifiers that were given this one share the limits
 */
export function createExplain(allowList: object): Explain {
  const attempts = attemptsOf.get(allowList) ?? new Attempts();
  attemptsOf.set(allowList, attempts);
  return async (attempt, line, view, hosts) => {
    if (!attempts.take()) return null;
    const known = [...hosts];
    let tries = 0;
    for (const spelling of spellingsOf(line, view, known)) {
      if ((await attempt(spelling.line)) === null) return toFault(line, spelling, known);
      if (++tries === MAX_TRIES) break;
    }
    return null;
  };
}

function toFault(seen: RequestLine, { line: signed, changes }: Spelling, hosts: readonly string[]): Fault {
  const what = changes.map((change) => `${signedText(change, signed)}.`).join(' ');
  const fixes = changes.map((change) =>
    // A header has named it, which anybody can have written.
    change === 'authority' && !hosts.includes(signed.authority)
      ? `If ${signed.authority} is another server, somebody has sent on a request that was meant for it: change nothing here. If it is a name of this one: ${mend(change, seen, signed)}`
      : mend(change, seen, signed),
  );
  return new Fault(REQUEST_CODES.invalid_signature, what, {
    fix: `${fixes.join(' ')} See invalid_signature in docs/errors.md.`,
  });
}

function signedText(change: Change, { authority, method, path }: RequestLine): string {
  if (change === 'authority') return `The signature is right for the host ${authority}`;
  if (change === 'method') return `The signature is right for the method ${method}`;
  // It may hold secrets.
  if (change === 'query') return 'The signature is right for another spelling of the query';
  return `The signature is right for the path ${path}`;
}

const isOnLambda = () => Boolean(globalThis.process?.env?.AWS_LAMBDA_FUNCTION_NAME);

function mend(change: Change, seen: RequestLine, signed: RequestLine): string {
  switch (change) {
    case 'authority':
      return `A proxy has put ${seen.authority} in its place. Let it pass Host on (Apache: ProxyPreserveHost On; nginx: proxy_set_header Host $http_host), or: verify({ authority: '${signed.authority}' }).`;
    case 'escapes':
      return isOnLambda()
        ? 'The event has a decoded path: put asSent() around it, and let the caller send AuthMesh-Path, as docs/lambda.md says.'
        : 'A proxy unescapes paths, or escapes them anew. Apache: ProxyPass … nocanon, and AllowEncodedSlashes NoDecode. nginx: proxy_pass without a path, and no rewrite.';
    case 'slashes':
      return 'A proxy has made one slash of two. Apache: MergeSlashes Off. nginx: proxy_pass without a path, or merge_slashes off.';
    case 'slash':
      return 'Something on the way adds or takes away the slash at the end: call the other form, or turn that off.';
    case 'cut': {
      const prefix = signed.path.slice(0, signed.path.length - seen.path.length);
      return `${prefix} was cut off on the way: verify({ pathPrefix: '${prefix}' }).`;
    }
    case 'prefix':
      return `${seen.path.slice(0, seen.path.length - signed.path.length)} was put in front of it on the way: let the proxy pass paths on as they come.`;
    case 'query':
      return isOnLambda()
        ? 'The event has the query taken apart: use a function URL or format 2.0, as docs/lambda.md says.'
        : 'Something on the way drops, sorts or escapes queries: let it pass them on as they come.';
    case 'method':
      return 'A proxy has made a GET of it (nginx: proxy_cache_convert_head off).';
  }
}

/** What the log says of a fault beside its code: more than the general text, where the request shows it. */
export function hintFor(
  { code, detail, advice }: Fault,
  nowMs: number,
  credentials: Credentials | undefined,
  view: RequestView,
): { readonly detail?: string; readonly fix?: string } {
  if (advice !== undefined) return {};
  if (code === 'missing_header') return unsignedHint(view);
  const ageSeconds = Math.round(nowMs / 1000 - (credentials?.created ?? Number.NaN));
  if (code === 'replay_detected') {
    return {
      detail: `This request has been seen before. It was signed ${ageSeconds} s ago.`,
      fix: 'Look for something that sends requests a second time: a fetch with retries below amesh.fetch (fetch-retry, RetryAgent of undici), or a proxy that retries. Repeat amesh.fetch itself: it signs each attempt anew. Where there is none, somebody has recorded the request.',
    };
  }
  if (code === 'timestamp_out_of_range' && /^The request was signed \d/.test(detail ?? '')) {
    return {
      fix:
        ageSeconds < 0
          ? "The caller's clock is ahead, or this one is behind: set it (NTP)."
          : "The caller's clock is behind, this one is ahead, or the request was held up on the way: set the clock (NTP). Over plain http amesh.fetch does not correct it.",
    };
  }
  if (code === 'timestamp_out_of_range') {
    return detail === 'The signature has expired.'
      ? { fix: 'Send it sooner, or sign it with a later "expires".' }
      : {
          fix: 'The clocks are not to blame: this server, or the Redis of its nonces, has started since. Sign it again; amesh.fetch does so by itself, over https and loopback.',
        };
  }
  if (code === 'malformed_header' && detail?.startsWith('The target') && isOnLambda())
    return { fix: 'The event has a decoded path: put asSent() around it, as docs/lambda.md says.' };
  return {};
}

/** What was taken away, or put in its place, where a request was signed once. */
function unsignedHint({ headers }: RequestView): { readonly detail?: string; readonly fix?: string } {
  const [authorization] = headerLines(headers, 'authorization');
  const scheme = /^[\w-]{1,20}(?= )/.exec(authorization ?? '')?.[0];
  const isOurs = headerLines(headers, 'authmesh-target').length > 0;
  if (scheme !== undefined) {
    return {
      detail: `The request has an Authorization of another kind (${scheme}), and no signature.`,
      fix: "Call with amesh.fetch, without an Authorization of your own. Where a proxy puts one in, sign with createAmesh({ format: 'rfc9421' }), which needs no Authorization.",
    };
  }
  if (authorization !== undefined || !isOurs) return {};
  return {
    detail: 'The request was signed, and its Authorization header was dropped on the way.',
    fix: "Let the proxy or gateway pass Authorization on, or sign with createAmesh({ format: 'rfc9421' }), which needs none.",
  };
}

/** As far as clocks may differ without a refusal, and a Date that has whole seconds. */
const FAIR_SECONDS = 25;

/** What a caller is told of clocks; null where the answer does not say what time it is there. */
export function clockHint(url: URL, { headers }: Response, nowMs: number): readonly [string, string] | null {
  const aheadMs = headers.has('age') ? Number.NaN : Date.parse(headers.get('date') ?? '') - nowMs;
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (Number.isNaN(seconds)) return null;
  if (seconds < FAIR_SECONDS) {
    return [
      `The server does not take the time of the request, though the clocks are only ${seconds} s apart.`,
      'It, or its Redis, has probably started just now: send the request again.',
    ];
  }
  const detail = `The clock of this machine is ${seconds} s ${aheadMs > 0 ? 'behind' : 'ahead of'} the one that the server shows.`;
  const set = 'Set the clock that is wrong (NTP).';
  return [
    detail,
    isPrivateChannel(url)
      ? set
      : `${set} Over plain http nobody proves what an answer says, so amesh.fetch does not correct itself by it: use https.`,
  ];
}

/** Where undici keeps the one of `fetch`, also that of Node. */
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');
/** Of these it is known that they send nothing twice. */
const PLAIN = ['Agent', 'EnvHttpProxyAgent', 'ProxyAgent', 'Pool', 'Client'];

/** What is composed with interceptors stands for another one, with a dispatch() of its own. */
function isPlain(dispatcher: { dispatch?: unknown }): boolean {
  const { dispatch } = Object.getPrototypeOf(dispatcher) ?? {};
  return PLAIN.includes(dispatcher.constructor?.name) && dispatcher.dispatch === dispatch;
}

/**
 * What a caller is told where something below amesh.fetch may repeat requests; empty where nothing is known of it.
 *
 * @param isForeign whether a `fetch` or dispatcher was given
 */
export function retryHint(isForeign: boolean): string {
  const { [DISPATCHER]: dispatcher } = globalThis as { [DISPATCHER]?: { dispatch?: unknown } };
  if (!isForeign && (dispatcher === undefined || isPlain(dispatcher))) return '';
  return " Where the server's log says replay_detected, the fetch or dispatcher below amesh.fetch repeats requests: turn its retries off, and repeat amesh.fetch.";
}
