/**
 * The one spelling that RFC 8785 gives a value of JSON: members in the order of their UTF-16 code units, numbers and
 * strings as `JSON.stringify` writes them. Members that are undefined are left out.
 *
 * @throws TypeError for what has no such form, as half a surrogate pair and 1e999; RangeError for too deep a tree
 */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = value as Record<string, unknown>;
    const names = Object.keys(members).filter((name) => members[name] !== undefined);
    const written = names.sort().map((name) => `${canonical(name)}:${canonical(members[name])}`);
    return `{${written.join(',')}}`;
  }
  const isCanonical =
    value === null ||
    typeof value === 'boolean' ||
    (typeof value === 'number' && Number.isFinite(value)) ||
    (typeof value === 'string' && value.isWellFormed());
  if (!isCanonical) throw new TypeError('This has no canonical form.');
  return JSON.stringify(value);
}
