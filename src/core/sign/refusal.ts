import { clockHint, retryHint } from '#hints';
import { callSafely } from '../errors/call-safely';
import { SERVER_CODES } from '../errors/codes';
import { type CodeFacts, writeFix } from '../errors/define-codes';
import { toBodyStream } from './outgoing/body';
import { requestOf } from './sent-request';

/** What a client knows about a refusal of an amesh server. */
export interface ClientRefusal {
  /**
   * The code on the wire; `unauthorized` hides the precise reason, which is in the server's log. Or `answer_unproven`: the answer
   * had to be proven, and is not.
   */
  readonly code: string;
  /** The HTTP status of the response: 401, 403, 421, 500 or 503; any for `answer_unproven`. */
  readonly status: number;
  /** Only for `scope_missing`: the scope that this device does not have at the server. */
  readonly scope?: string | undefined;
  /** Without its query, which may contain secrets. */
  readonly url: string;
  /** The cause: one or two sentences. */
  readonly detail: string;
  /** What to do about it, and on which machine. */
  readonly fix: string;
}

interface Sent {
  /** Whether the refused request was signed. */
  readonly signed: boolean;
  /** The device ID with which this client signs. */
  readonly ownId: () => Promise<string>;
  /** Whether it signs as a delegate of that device. */
  readonly isDelegate: boolean;
  /** The client's own `fetch`, if it has one. */
  readonly fetch: object | undefined;
  /** The options that `fetch` received. */
  readonly options: object;
  readonly nowMs: number;
}

type Text = readonly [detail: string, fix: string];

const TEXTS: Readonly<Record<string, Text>> = {
  unauthorized: [
    'The server did not accept the signature of this device.',
    'On the target: amesh list shows whether this device is a controller there, and its log has the precise reason. Here: amesh whoami.',
  ],
  device_expired: [
    'The trust of the server in this device has ended.',
    'On the target: amesh allow DEVICE --expires 90d, or a new grant.',
  ],
  delegate_not_allowed: [
    'The server accepts no delegates at this path.',
    'On the server, name the scope that the path needs, verify({ require }), or say verify({ delegates: true }). Or call as the device itself.',
  ],
  timestamp_out_of_range: ['The clocks of the two machines differ.', 'Set both (NTP).'],
  wrong_host: [
    'The server accepts no requests for this host.',
    'On the target, run: amesh config hosts --add {host}. If it has that host, a proxy sets another: see "authority" in docs/configuration.md.',
  ],
};

const DELEGATE = [
  'The server did not accept this delegate.',
  "The server's log has the precise reason: the delegation was revoked or is for another target, or its device may not call.",
] as const;

const UNSIGNED = [
  'Another server redirected to this one, and a request is signed only for the server that it was made for.',
  'Call this URL directly.',
] as const;

/** The longest body of a refusal has 100 bytes; larger ones are not read. */
const BODY_BYTES = 100;
/** Cancelling a cloned body waits until both copies are cancelled, so reading has a time limit. */
const BODY_MS = 1000;

/** Our challenge, alone or next to that of a proxy. */
const CHALLENGE = /(?:^|, *)AuthMesh error="([a-z_]{1,40})"(?=$| *,)/;

/** The code in `WWW-Authenticate: AuthMesh error="…"`, or null if the response is not from amesh. */
export function refusalOf(response: Response): string | null {
  if (response.status !== 401) return null;
  return CHALLENGE.exec(response.headers.get('www-authenticate') ?? '')?.[1] ?? null;
}

/** A URL without its query, which may contain secrets. */
export function shownUrl({ origin, pathname }: URL): string {
  return origin + pathname;
}

/** Tells the caller's `onRefusal`, whose own errors stop nothing. */
export function tellRefusal(
  refusal: ClientRefusal | null,
  onRefusal: (refusal: ClientRefusal) => void,
): void {
  if (refusal !== null) callSafely(() => onRefusal(refusal));
}

/**
 * Explains a refusal; null for any other response. Only the body names a scope, or a fault of the server (500, 503). A 421 has no
 * header of amesh, but hardly anybody else uses that status.
 */
export async function explainRefusal(
  url: URL,
  response: Response,
  sent: Sent,
): Promise<ClientRefusal | null> {
  const { status } = response;
  const found = await (status === 403
    ? explainForbidden(url, response, sent)
    : status >= 500
      ? explainFault(response)
      : explainHeader(url, response, sent));
  if (found === null) return null;
  const [code, detail, fix, scope] = found;
  return { code, status, url: shownUrl(url), detail, fix, ...(scope && { scope }) };
}

type Explained = readonly [code: string, detail: string, fix: string, scope?: string];

async function explainForbidden(
  url: URL,
  response: Response,
  { signed, ownId, isDelegate }: Sent,
): Promise<Explained | null> {
  const { error, scope } = (signed && (await readForbidden(response).catch(() => null))) || {};
  if (error === 'delegate_not_allowed') return [error, ...(TEXTS[error] as Text)];
  if (scope === undefined) return null; // a 403 of the application
  const allow = `Ask the administrator of ${url.host} to run: amesh allow ${await ownId()} ${scope}`;
  const who = isDelegate ? 'This delegate, or its device,' : 'This device';
  const fix = isDelegate
    ? `The delegation needs it: amesh delegate --scope ${scope}. So does its device. ${allow}`
    : allow;
  return ['scope_missing', `${who} does not have the scope ${scope} at the server.`, fix, scope];
}

function explainHeader(
  url: URL,
  response: Response,
  { signed, isDelegate, fetch, options, nowMs }: Sent,
): Explained | null {
  const code = response.status === 421 ? 'wrong_host' : refusalOf(response);
  if (code === null || !Object.hasOwn(TEXTS, code)) return null;
  const clock = code === 'timestamp_out_of_range' ? clockHint(url, response, nowMs) : null;
  const text = isDelegate && code === 'unauthorized' ? DELEGATE : (TEXTS[code] as Text);
  const [detail, fix] = signed ? (clock ?? text) : UNSIGNED;
  const target = signed && code === 'unauthorized' ? requestOf(response)?.target : undefined;
  const whose = target === undefined ? '' : ` The request was signed for ${target}.`;
  const repeats = signed && code === 'unauthorized' ? retryHint(fetch, options) : '';
  return [code, detail + whose, fix.replace('{host}', () => url.host) + repeats];
}

/** The text of a body that is as short as those of amesh; empty for a longer one. The body of the response stays readable. */
async function readShort(response: Response): Promise<string> {
  if (!(Number(response.headers.get('content-length') ?? Number.NaN) <= BODY_BYTES)) return '';
  const reader = (toBodyStream(response.clone().body) as ReadableStream<Uint8Array>).getReader();
  AbortSignal.timeout(BODY_MS).onabort = () => reader.cancel().catch(() => {});
  const { value } = await reader.read(); // so few bytes arrive in one chunk
  void reader.cancel().catch(() => {});
  return new TextDecoder().decode(value);
}

/** Why a server forbids a request. An application has its own 403, so the whole text has to be one of amesh. */
async function readForbidden(response: Response): Promise<{ error?: string; scope?: string } | null> {
  if (response.headers.get('content-type') !== 'application/json') return null;
  const form = /^\{"error":"(?:(delegate_not_allowed)|scope_missing","scope":"([a-z0-9_.:-]{1,64}))"\}$/;
  const [, error, scope] = form.exec(await readShort(response)) ?? [];
  return { ...(error && { error }), ...(scope && { scope }) };
}

/** Which fault the server has. */
async function explainFault(response: Response): Promise<Explained | null> {
  const { error } = JSON.parse(await readShort(response)) as { error?: unknown };
  const facts = Object.values<CodeFacts>(SERVER_CODES).find(({ code }) => code === error);
  if (facts?.wire === undefined || facts.wire !== error || facts.status !== response.status) return null;
  const detail = `The server itself has a fault. ${facts.cause}`;
  return [facts.wire, detail, `See the server's log for the reason. ${writeFix(facts)}`];
}
