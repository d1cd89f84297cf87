/**
 * Whether a value is an object with all of the required members, any of the optional ones, and no other.
 *
 * @param required their names
 * @param optional their names
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

/** Whole, not negative, and exact. */
export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

export function isListOf<T>(value: unknown, isRight: (item: unknown) => item is T): value is T[] {
  return Array.isArray(value) && value.every(isRight);
}
