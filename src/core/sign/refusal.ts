import { clockHint, retryHint } from '#hints';
import { callSafely } from '../errors/call-safely';
import { SERVER_CODES } from '../errors/codes';
import { type CodeFacts, writeFix } from '../errors/define-codes';
import { answeredBy } from './answered';
import { toBodyStream } from './body';

/** That an amesh server has refused a request, as far as it says why. */
export interface ClientRefusal {
  /** The code on the wire; `unauthorized` hides the precise reason, which is in the server's log. */
  readonly code: string;
  /** The HTTP status of the answer: 401, 421, 500 or 503. */
  readonly status: number;
  /** Without query, which may hold secrets. */
  readonly url: string;
  /** The cause, in one or two sentences. */
  readonly detail: string;
  /** What to do about it, and on which machine. */
  readonly fix: string;
}

const TEXTS: Readonly<Record<string, readonly [detail: string, fix: string]>> = {
  unauthorized: [
    'The server did not accept the signature of this device.',
    'On the server: amesh list shows whether this device is a controller there, and its log has the precise reason. Here: amesh whoami.',
  ],
  timestamp_out_of_range: ['The clocks of the two machines differ.', 'Set both (NTP).'],
  wrong_host: [
    'The server does not answer to this host.',
    'On the server, run: amesh config hosts --add {host}. If it has that host, a proxy sets another: see "authority" in docs/configuration.md.',
  ],
};

const UNSIGNED = [
  'A redirect led to this server from another, and a request is signed for the server that it was made for only.',
  'Call this URL itself.',
] as const;

/** A fault of a server is named by its body alone. The longest has 40 bytes, and nobody waits for more. */
const FAULT_BYTES = 64;
/** Who cancels a body waits for all who read it. */
const FAULT_MS = 1000;

/** The challenge of ours, alone or beside that of a proxy. */
const CHALLENGE = /(?:^|, *)AuthMesh error="([a-z_]{1,40})"(?=$| *,)/;

/** The code in `WWW-Authenticate: AuthMesh error="…"`, or null where the response is none of ours. */
export function refusalOf(response: Response): string | null {
  if (response.status !== 401) return null;
  return CHALLENGE.exec(response.headers.get('www-authenticate') ?? '')?.[1] ?? null;
}

/**
 * Tells the caller's `onRefusal` what a refusal means: before the response is given, or behind it where the server is at
 * fault (500, 503), since the body says so. 421 has no header of ours, but no other use in practice.
 *
 * @param signed whether the request that was refused carried a signature
 * @param mayRepeat whether something below may send requests a second time
 */
export function explainRefusal(
  url: URL,
  response: Response,
  { signed, mayRepeat, nowMs }: { signed: boolean; mayRepeat: boolean; nowMs: number },
  onRefusal: (refusal: ClientRefusal) => void,
): void {
  const { status } = response;
  const tell = (code: string, [detail, fix]: readonly [detail: string, fix: string]) => {
    const refusal = { code, status, url: url.origin + url.pathname, detail, fix };
    // The response is there all the same, and is what the caller asked for.
    callSafely(() => onRefusal(refusal));
  };
  if (status >= 500) {
    readFault(response).then(
      (fault) => fault && tell(...fault),
      () => {}, // no body, or none of ours
    );
    return;
  }
  const code = status === 421 ? 'wrong_host' : refusalOf(response);
  if (code === null || !Object.hasOwn(TEXTS, code)) return;
  const clock = code === 'timestamp_out_of_range' ? clockHint(url, response, nowMs) : null;
  const [detail, fix] = signed ? (clock ?? (TEXTS[code] as readonly [string, string])) : UNSIGNED;
  const target = signed && code === 'unauthorized' ? answeredBy(response)?.target : undefined;
  const whose = target === undefined ? '' : ` The request was signed for ${target}.`;
  const repeats = signed && code === 'unauthorized' ? retryHint(mayRepeat) : '';
  tell(code, [detail + whose, fix.replace('{host}', () => url.host) + repeats]);
}

/** The code of a server that is at fault, and what to say of it. The body stays to be read. */
async function readFault(response: Response) {
  if (!(Number(response.headers.get('content-length') ?? Number.NaN) <= FAULT_BYTES)) return null;
  const reader = (toBodyStream(response.clone().body) as ReadableStream<Uint8Array>).getReader();
  AbortSignal.timeout(FAULT_MS).onabort = () => reader.cancel().catch(() => {});
  const { value } = await reader.read(); // so few bytes come at once
  void reader.cancel().catch(() => {});
  const { error } = JSON.parse(new TextDecoder().decode(value)) as { error?: unknown };
  const facts = Object.values<CodeFacts>(SERVER_CODES).find(({ code }) => code === error);
  if (facts?.wire === undefined || facts.wire !== error || facts.status !== response.status) return null;
  const detail = `The server itself is at fault. ${facts.cause}`;
  return [facts.wire, [detail, `On the server: its log has the reason. ${writeFix(facts)}`]] as const;
}
