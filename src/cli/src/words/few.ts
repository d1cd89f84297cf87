import { UsageError } from '../errors/errors';

/**
 * Checks that the command line does not name too many of something.
 *
 * @param hint what to do about it
 * @throws UsageError with this message
 */
export function assertFew(items: readonly unknown[], most: number, message: string, hint: string): void {
  if (items.length > most) throw new UsageError(message, { hint });
}

/** The hint if names, hosts and scopes are too long together. */
export const SHORTER =
  "Use fewer or shorter hosts, and a wildcard such as 'orders:*' in place of several scopes.";
