/** The headers of an answer, in whatever way a framework has them. */
export interface ResponseHeaders {
  get(name: string): unknown;
  set(name: string, value: string): unknown;
}

/**
 * What was allowed for one caller is not for a shared cache. The handler may say otherwise after this.
 *
 * @param more what the verifier wants the answer to carry
 */
export function markPrivate(headers: ResponseHeaders, more: Readonly<Record<string, string>> = {}): void {
  for (const [name, value] of Object.entries(more)) headers.set(name, value);
  const control = String(headers.get('cache-control') ?? '');
  if (!/\b(?:private|no-store)\b/i.test(control)) headers.set('cache-control', 'private');
  const vary = String(headers.get('vary') ?? '');
  const names = vary.split(',').map((name) => name.trim());
  if (names.includes('*')) return;
  for (const name of ['Authorization', 'Signature-Input']) {
    if (!names.some((other) => other.toLowerCase() === name.toLowerCase())) names.push(name);
  }
  headers.set('vary', names.filter((name) => name !== '').join(', '));
}
