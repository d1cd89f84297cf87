/**
 * The canonical form of a JSON value by RFC 8785: members in order of their UTF-16 code units, numbers and strings as
 * `JSON.stringify` writes them. Undefined members are left out.
 *
 * @throws TypeError for a value without such a form, such as a lone surrogate or 1e999; RangeError if it is nested too deep
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
  if (!isCanonical) throw new TypeError('This value has no canonical form.');
  return JSON.stringify(value);
}
