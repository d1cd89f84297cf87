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
  wrong_host: ['The server does not answer to this host.', 'On the server, run: amesh config hosts {host}'],
};

/** The code in `WWW-Authenticate: AuthMesh error="…"`, or null where the response is none of ours. */
export function refusalOf(response: Response): string | null {
  if (response.status !== 401) return null;
  return (
    /^AuthMesh error="([a-z_]{1,40})"$/.exec(response.headers.get('www-authenticate') ?? '')?.[1] ?? null
  );
}

/** Tells the caller's `onReject` what a refusal means. 421 has no header of ours, but no other use in practice. */
export function explainRefusal(
  url: URL,
  response: Response,
  onReject: ((rejection: ClientRejection) => void) | undefined,
): void {
  if (onReject === undefined) return;
  const code = response.status === 421 ? 'wrong_host' : refusalOf(response);
  const [message, fix] = TEXTS[code ?? ''] ?? [];
  if (code === null || message === undefined || fix === undefined) return;
  onReject({
    code,
    status: response.status,
    url: url.origin + url.pathname,
    message,
    fix: fix.replace('{host}', url.host),
  });
}
