const MAX_LENGTH = 8192;

/**
 * The match of a pattern that occurs once in a header; null if it occurs more often or not at all, or the header has more than 8,192
 * characters. `matchAll()` copies the pattern, which takes longer than the search.
 *
 * @param pattern with the flag `g`
 */
export function onlyMatch(pattern: RegExp, text: string): RegExpExecArray | null {
  if (text.length > MAX_LENGTH) return null;
  pattern.lastIndex = 0;
  const match = pattern.exec(text);
  return match === null || pattern.exec(text) !== null ? null : match;
}
