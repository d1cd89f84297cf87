import { callSafely } from '../safe-call';

/** That an amesh server has refused a request, as far as it says why. */
export interface ClientRejection {
  /** The code on the wire; `unauthorized` hides the precise reason, which is in the server's log. */
  readonly code: string;
  readonly status: number;
  /** Without query, which may hold secrets. */
  readonly url: string;
  readonly message: string;
  readonly fix: string;
}

const TEXTS: Readonly<Record<string, readonly [message: string, fix: string]>> = {
  unauthorized: [
    'The server did not accept the signature of this device.',
    'On the server: amesh list shows whether this device is a controller there, and its log has the precise reason. Here: amesh whoami.',
  ],
  timestamp_out_of_range: ['The clocks of the two machines differ.', 'Set both (NTP).'],
  wrong_host: [
    'The server does not answer to this host.',
    'On the server, run: amesh config hosts --add {host}',
  ],
};

const UNSIGNED = [
  'A redirect led to this server from another, and a request is signed for the server that it was made for only.',
  'Call this URL itself.',
] as const;

/** The challenge of ours, alone or beside that of a proxy. */
const CHALLENGE = /(?:^|, *)AuthMesh error="([a-z_]{1,40})"(?=$| *,)/;

/** The code in `WWW-Authenticate: AuthMesh error="…"`, or null where the response is none of ours. */
export function refusalOf(response: Response): string | null {
  if (response.status !== 401) return null;
  return CHALLENGE.exec(response.headers.get('www-authenticate') ?? '')?.[1] ?? null;
}

/**
 * Tells the caller's `onReject` what a refusal means. 421 has no header of ours, but no other use in practice.
 *
 * @param signed whether the request that was refused carried a signature
 */
export function explainRefusal(
  url: URL,
  response: Response,
  signed: boolean,
  onReject: (rejection: ClientRejection) => void,
): void {
  const code = response.status === 421 ? 'wrong_host' : refusalOf(response);
  if (code === null || !Object.hasOwn(TEXTS, code)) return;
  const [message, fix] = signed ? (TEXTS[code] as readonly [string, string]) : UNSIGNED;
  const rejection = {
    code,
    status: response.status,
    url: url.origin + url.pathname,
    message,
    fix: fix.replace('{host}', () => url.host),
  };
  // The response is there all the same, and is what the caller asked for.
  callSafely(() => onReject(rejection));
}
