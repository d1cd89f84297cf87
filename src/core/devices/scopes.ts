/** What a request can require: 1 to 64 characters. */
const SCOPE = /^[a-z0-9_.:-]{1,64}$/;

/** What a device can be given: a scope, everything below one, or everything. */
const PATTERN = /^(?:[a-z0-9_.:-]{1,64}|[a-z0-9_.:-]{1,62}:\*|\*)$/;

/** Whether a text is a scope: `orders:read`. 1 to 64 of `a-z 0-9 _ . : -`, without a wildcard. */
export function isScope(text: unknown): text is string {
  return typeof text === 'string' && SCOPE.test(text);
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

/** The first scope of these that no pattern covers; undefined if the device has them all. */
export function missingScope(patterns: readonly string[], required: readonly string[]): string | undefined {
  return required.find((scope) => !covers(patterns, scope));
}
