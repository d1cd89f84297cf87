/**
 * Whether a value is an object with all required members and no members other than the required and optional ones.
 *
 * @param required names of members
 * @param optional names of members
 */
export function hasMembers(
  value: unknown,
  required: readonly string[],
  optional: readonly string[] = [],
): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const names = Object.keys(value);
  const there = names.filter((name) => required.includes(name));
  return (
    there.length === required.length &&
    names.every((name) => required.includes(name) || optional.includes(name))
  );
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** A safe integer that is not negative. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function isListOf<T>(value: unknown, isRight: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(isRight);
}
