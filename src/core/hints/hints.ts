import type { MaybePromise } from '../crypto/provider';
import { SIGNATURE_CODES } from '../errors/codes';
import { Fault } from '../errors/fault';
import { momentText } from '../moment';
import { STATEMENT_LIMITS } from '../statements/statement';
import { normalizeAuthority } from '../wire/authority';
import type { Credentials } from '../wire/credentials';
import { type RequestLine, TARGET, TWO_HOSTS } from '../wire/line';
import { isPrivateChannel } from '../wire/private-channel';
import { headerLines, type RequestView } from '../wire/view';
import { SENDS_ONCE } from './sends-once';
import { type Change, type Spelling, spellingsOf } from './spellings';

export { hostFix } from './host-fix';

/** Checks whether the signature is valid for another request line than the received one. */
export type Try = (line: RequestLine) => MaybePromise<unknown>;

/** Finds out how a request with an invalid signature was changed; null if it cannot tell. */
export type Explain = (
  attempt: Try,
  line: RequestLine,
  view: RequestView,
  hosts: Iterable<string>,
) => MaybePromise<Fault | null>;

/**
 * Limits the work that strangers can cause: an attempt costs up to 64 verifications, about 4 ms. Ten attempts may come at
 * once, then one per second.
 */
const [MAX_TRIES, MAX_ATTEMPTS, REFILL_MS] = [64, 10, 1000];

/** A token bucket of attempts. */
class Attempts {
  #left = MAX_ATTEMPTS;
  #filledAtMs = performance.now();

  /** @returns whether an attempt was left */
  take(): boolean {
    const gained = Math.floor((performance.now() - this.#filledAtMs) / REFILL_MS);
    this.#left = Math.min(MAX_ATTEMPTS, this.#left + gained);
    this.#filledAtMs += gained * REFILL_MS;
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }
}

/**
 * One bucket for each allow list, which is the caller's object: an application may create a verifier for each of a hundred
 * routes.
 */
const attemptsOf = new WeakMap<object, Attempts>();

/**
 * Creates a limited explainer, whose results go to the log only.
 *
 * @param allowList verifiers with the same list share the limits
 */
export function createExplain(allowList: object): Explain {
  const attempts = attemptsOf.get(allowList) ?? new Attempts();
  attemptsOf.set(allowList, attempts);
  return async (attempt, line, view, hosts) => {
    if (!attempts.take()) return null;
    const known = [...hosts];
    let tries = 0;
    for (const spelling of spellingsOf(line, view, known)) {
      if ((await attempt(spelling.line)) === null) return toFault(line, spelling, known, view);
      if (++tries === MAX_TRIES) break;
    }
    return null;
  };
}

function toFault(
  seen: RequestLine,
  { line: signed, changes }: Spelling,
  hosts: readonly string[],
  view: RequestView,
): Fault {
  const what = changes.map((change) => `${signedText(change, signed)}.`).join(' ');
  const fixes = changes.map((change) =>
    change === 'authority' ? mendHost(seen, signed, hosts, view) : mend(change, seen, signed),
  );
  return new Fault(SIGNATURE_CODES.invalid_signature, what, {
    fix: `${fixes.join(' ')} See invalid_signature in docs/errors.md.`,
  });
}

function mendHost(
  seen: RequestLine,
  signed: RequestLine,
  hosts: readonly string[],
  view: RequestView,
): string {
  if (normalizeAuthority(view.authority) === signed.authority)
    return `The request arrived with that host, and verify() took ${seen.authority} instead, from its option authority or from X-Forwarded-Host. Correct that, or leave it out.`;
  const text = mend('authority', seen, signed);
  if (hosts.includes(signed.authority)) return text;
  // Anybody can have written the header that this host comes from.
  return `If ${signed.authority} is another server, somebody forwarded a request meant for it: change nothing here. If it is a name of this server: ${text}`;
}

function signedText(change: Change, { authority, method, path }: RequestLine): string {
  if (change === 'authority') return `The signature is valid for the host ${authority}`;
  if (change === 'method') return `The signature is valid for the method ${method}`;
  // Without the query, which may contain secrets.
  if (change === 'query') return 'The signature is valid for another spelling of the query';
  return `The signature is valid for the path ${path}`;
}

const isOnLambda = () => Boolean(globalThis.process?.env?.AWS_LAMBDA_FUNCTION_NAME);

function mend(change: Change, seen: RequestLine, signed: RequestLine): string {
  switch (change) {
    case 'authority':
      return `A proxy replaced it with ${seen.authority}. Make the proxy forward Host (Apache: ProxyPreserveHost On; nginx: proxy_set_header Host $http_host), or use verify({ authority: '${signed.authority}' }).`;
    case 'escapes':
      return isOnLambda()
        ? 'The path in the event is decoded: wrap it with asSent(), and let the caller send AuthMesh-Path, as docs/lambda.md says.'
        : 'A proxy decodes or re-encodes paths. Apache: ProxyPass … nocanon, and AllowEncodedSlashes NoDecode. nginx: proxy_pass without a path, and no rewrite.';
    case 'slashes':
      return 'A proxy merged two slashes. Apache: MergeSlashes Off. nginx: proxy_pass without a path, or merge_slashes off.';
    case 'slash':
      return 'Something in between adds or removes the trailing slash: call the other form, or turn that off.';
    case 'cut': {
      const prefix = signed.path.slice(0, signed.path.length - seen.path.length);
      return `Something in between removed the prefix ${prefix}: use verify({ pathPrefix: '${prefix}' }).`;
    }
    case 'prefix':
      return `Something in between added the prefix ${seen.path.slice(0, seen.path.length - signed.path.length)}: make the proxy forward paths unchanged.`;
    case 'query':
      return isOnLambda()
        ? 'The query in the event is parsed: use a function URL or format 2.0, as docs/lambda.md says.'
        : 'Something in between drops, sorts or escapes queries: make it forward them unchanged.';
    case 'method':
      return 'A proxy changed it to GET (nginx: proxy_cache_convert_head off).';
  }
}

/** More precise texts for a fault's log line, where the request shows more than the code says. */
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
      fix: 'Look for something that sends requests twice: a fetch with retries below amesh.fetch (fetch-retry, RetryAgent of undici), or a proxy that retries; or that verifies them twice, such as verify() in front of withAmesh(). Retry amesh.fetch itself, which signs each attempt again. If there is no such thing, somebody recorded the request.',
    };
  }
  // Recognized by the text of checkFreshness(): a separate member would cost bytes in bundles without hints.
  const isSkew = /^The request was signed \d/.test(detail ?? '');
  if (code === 'timestamp_out_of_range') return timeHint(isSkew, ageSeconds, nowMs, credentials?.expires);
  if (code === 'malformed_header' && !TARGET.test(view.target) && isOnLambda())
    return { fix: 'The path in the event is decoded: wrap it with asSent(), as docs/lambda.md says.' };
  if (detail === TWO_HOSTS) return twoHostsHint(view);
  // Recognized by the text of checkStatement(), for the same reason.
  const cut = /^The statement in AuthMesh-Key begins before .*, at (\S+)\.$/.exec(detail ?? '')?.[1];
  return cut === undefined ? {} : cutHint(Date.parse(cut));
}

/** Neither a clock nor a restart is the reason, and a delegation that is made at once is refused, too. */
function cutHint(cutMs: number): { readonly fix: string } {
  const from = momentText(cutMs + STATEMENT_LIMITS.backdatedSeconds * 1000);
  return {
    fix: `The device's programs make a new working key by themselves. A delegation counts if it is made from ${from} on, since each begins 5 minutes early: amesh delegate`,
  };
}

/** The authority of a `Request` is the host of its URL. */
function twoHostsHint({ authority, headers }: RequestView): { readonly fix: string } {
  const hostIn = (text: string) => normalizeAuthority(text.trim()) ?? undefined; // anything else may be long, or ruin the log
  const headerHost = (name: string) => hostIn(headerLines(headers, name).join());
  const shown = hostIn(authority);
  const otherwise = 'Otherwise somebody has changed the request.';
  if (shown !== undefined && headerHost('x-forwarded-host') === shown)
    return {
      fix: `If the framework took the host of request.url (${shown}) from the X-Forwarded-Host of your proxy: { trustForwardedHost: true }. ${otherwise}`,
    };
  const called = headerHost('host') ?? 'api.example.com';
  return {
    fix: `If the framework makes up the host of request.url (${shown}), set the one that callers use: { authority: '${called}' }. ${otherwise}`,
  };
}

function timeHint(
  isSkew: boolean,
  ageSeconds: number,
  nowMs: number,
  expires: number | undefined,
): { readonly fix: string } {
  if (isSkew) {
    return {
      fix:
        ageSeconds < 0
          ? "The caller's clock is ahead, or this server's is behind: correct the one that is wrong (NTP)."
          : "The caller's clock is behind, this server's is ahead, or the request was delayed: correct the one that is wrong (NTP).",
    };
  }
  if (expires !== undefined && nowMs > expires * 1000)
    return { fix: 'Send the request sooner, or sign it with a later "expires".' };
  return {
    fix: 'The clocks are right: this server, or the Redis of its nonces, started after the request was signed. Sign it again; amesh.fetch does so itself over https.',
  };
}

/** What removed or replaced the signature of a request that was signed. */
function unsignedHint({ headers }: RequestView): { readonly detail?: string; readonly fix?: string } {
  const [authorization] = headerLines(headers, 'authorization');
  const scheme = /^[\w-]{1,20}(?= )/.exec(authorization ?? '')?.[0];
  const isOurs = ['authmesh-target', 'authmesh-key'].some((name) => headerLines(headers, name).length > 0);
  if (scheme !== undefined) {
    return {
      detail: `The request has another Authorization (${scheme}) and no signature.`,
      fix: "Call with amesh.fetch, without your own Authorization. If a proxy adds one, sign with createAmesh({ format: 'rfc9421' }), which does not use Authorization.",
    };
  }
  if (authorization !== undefined || !isOurs) return {};
  return {
    detail: 'The request was signed, but something in between removed its Authorization header.',
    fix: "Make the proxy or gateway forward Authorization, or sign with createAmesh({ format: 'rfc9421' }), which does not use it.",
  };
}

/** A clock difference that causes no refusal, with room for the whole seconds of a Date header. */
const FAIR_SECONDS = 25;

/** What to tell a caller about the clocks; null if the response does not show the server's time. */
export function clockHint(url: URL, { headers }: Response, nowMs: number): readonly [string, string] | null {
  const aheadMs = headers.has('age') ? Number.NaN : Date.parse(headers.get('date') ?? '') - nowMs;
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (Number.isNaN(seconds)) return null;
  if (seconds < FAIR_SECONDS) {
    return [
      `The server refused the time of the request, although the clocks are only ${seconds} s apart.`,
      'The server, or its Redis, has probably just started: send the request again.',
    ];
  }
  const detail = `This machine's clock is ${seconds} s ${aheadMs > 0 ? 'behind' : 'ahead of'} the server's.`;
  const set = 'Correct the clock that is wrong (NTP).';
  return [
    detail,
    isPrivateChannel(url)
      ? set
      : `${set} Nothing proves the time in this response, so amesh.fetch does not correct its clock by it: use https.`,
  ];
}

/** Where undici stores the dispatcher of `fetch`, including Node's. */
const DISPATCHER = Symbol.for('undici.globalDispatcher.1');
/** Dispatchers that send nothing twice. */
const PLAIN = ['Agent', 'EnvHttpProxyAgent', 'ProxyAgent', 'Pool', 'Client'];

/** A dispatcher composed with interceptors has the name of its base, but its own dispatch(). */
function isPlain(dispatcher: { dispatch?: unknown }): boolean {
  const { dispatch } = Object.getPrototypeOf(dispatcher) ?? {};
  return PLAIN.includes(dispatcher.constructor?.name) && dispatcher.dispatch === dispatch;
}

/**
 * What to tell a caller if something below amesh.fetch may retry requests; empty if nothing is known.
 *
 * @param fetch the client's own `fetch`, if it has one
 * @param options the options that it receives, perhaps with a dispatcher
 */
export function retryHint(fetch: object | undefined, options: object): string {
  const isForeign = (fetch !== undefined && !(SENDS_ONCE in fetch)) || 'dispatcher' in options;
  const { [DISPATCHER]: dispatcher } = globalThis as { [DISPATCHER]?: { dispatch?: unknown } };
  if (!isForeign && (dispatcher === undefined || isPlain(dispatcher))) return '';
  return " If the server's log says replay_detected, the fetch or dispatcher below amesh.fetch retries requests: turn that off, and retry amesh.fetch itself.";
}
