import { cleanName } from '../../trust/names';

/** Whether this can be the pattern for the names of callers: a name with at most one `*`. */
export function isNamePattern(value: unknown): value is string {
  return typeof value === 'string' && cleanName(value) === value && value.split('*').length <= 2;
}

/** Whether a pattern matches a name. */
export function matchesPattern(pattern: string, name: string): boolean {
  const [start = '', end] = pattern.split('*');
  if (end === undefined) return name === pattern;
  return name.length >= start.length + end.length && name.startsWith(start) && name.endsWith(end);
}

/** A name that matches a pattern, derived from any name. */
export function nameFor(pattern: string, own: string): string {
  if (matchesPattern(pattern, own)) return own;
  const [start = '', end] = pattern.split('*');
  if (end === undefined) return pattern;
  const room = 64 - [...start].length - [...end].length;
  const middle = [...cleanName(own)].slice(0, room).join('');
  const name = `${start}${middle}${end}`;
  return cleanName(name) === name ? name : `${start}x${end}`;
}
