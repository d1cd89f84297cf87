/**
 * The scopes of your application. Without members, any text is a {@link Scope}. If you add your own, a misspelt scope is a type
 * error everywhere:
 *
 * ```ts
 * declare module '@authmesh/sdk' {
 *   interface AmeshScopes {
 *     'orders:read': true;
 *     'orders:write': true;
 *   }
 * }
 * ```
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications add the members
export interface AmeshScopes {}

/** A scope that `verify({ require })` and `hasScope()` take: a name in {@link AmeshScopes}, or any text if that has no members. */
export type Scope = [keyof AmeshScopes] extends [never] ? string : keyof AmeshScopes & string;

/** What a device can be given: a scope, everything below one, or everything. At most 64 characters. */
const PATTERN = /^(?!.{65})(?:[a-z0-9_.:-]+(?::\*)?|\*)$/;

/** Whether a text is a scope: `orders:read`. 1 to 64 of `a-z 0-9 _ . : -`, without a wildcard. */
export function isScope(text: unknown): text is string {
  return isScopePattern(text) && !text.includes('*');
}

/** Whether a text can be granted: a scope, `orders:*`, or `*`. At most 64 characters. */
export function isScopePattern(text: unknown): text is string {
  return typeof text === 'string' && PATTERN.test(text);
}

/**
 * Whether one of the patterns that a device has covers a scope. `orders:*` covers `orders:read` and `orders:a:b`, and
 * neither `orders` nor `orders:`.
 */
export function covers(patterns: readonly string[], scope: string): boolean {
  return patterns.some((pattern) => {
    if (pattern === '*' || pattern === scope) return true;
    const parent = pattern.slice(0, -1);
    return pattern.endsWith(':*') && scope.startsWith(parent) && scope.length > parent.length;
  });
}

/** What two lists of patterns both cover. If two patterns share a scope, one of them covers the other. */
export function commonScopes(some: readonly string[], others: readonly string[]): readonly string[] {
  const within = (inner: readonly string[], outer: readonly string[]) =>
    inner.filter((pattern) => covers(outer, pattern));
  return [...new Set([...within(some, others), ...within(others, some)])];
}

/**
 * Reads the option `require`.
 *
 * @throws TypeError for an empty list, and for a value that is not a scope, such as a constant that is undefined
 */
export function readRequire(given: unknown): readonly string[] {
  const scopes = Array.isArray(given) ? [...given] : [given];
  if (scopes.length === 0 || !scopes.every(isScope))
    throw new TypeError(
      'require must be a scope such as "orders:read", or a list of them, without wildcards.',
    );
  return scopes;
}

/** The first scope of these that no pattern covers; undefined if the device has them all. */
export function missingScope(patterns: readonly string[], required: readonly string[]): string | undefined {
  return required.find((scope) => !covers(patterns, scope));
}
