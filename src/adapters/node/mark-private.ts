/** The headers of a response, in any framework. */
export interface ResponseHeaders {
  get(name: string): unknown;
  set(name: string, value: string): unknown;
}

/** A whole directive: `private="set-cookie"` lets a shared cache keep the rest of the response. */
const PRIVATE = /(?:^|,)\s*(?:private|no-store)\s*(?:,|$)/i;

/** The headers that distinguish callers, so that a cache does not give the response for one caller to another. */
const BY_SIGNATURE = ['Authorization', 'Signature-Input'];

/**
 * Keeps a shared cache from serving one caller's response to others. The handler may override this.
 *
 * @param more headers that the verifier adds
 */
export function markPrivate(headers: ResponseHeaders, more: Readonly<Record<string, string>> = {}): void {
  for (const [name, value] of Object.entries(more)) headers.set(name, value);
  const control = String(headers.get('cache-control') ?? '');
  if (!PRIVATE.test(control)) headers.set('cache-control', 'private');
  const vary = String(headers.get('vary') ?? '');
  if (vary === '') {
    headers.set('vary', BY_SIGNATURE.join(', '));
    return;
  }
  const names = vary.split(',').map((name) => name.trim());
  if (names.includes('*')) return;
  for (const name of BY_SIGNATURE) {
    if (!names.some((other) => other.toLowerCase() === name.toLowerCase())) names.push(name);
  }
  headers.set('vary', names.filter((name) => name !== '').join(', '));
}
