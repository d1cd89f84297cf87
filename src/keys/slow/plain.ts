/** A text of an agent or a compiler on one line, shortened, without control and bidi characters. */
export function plain(text: string): string {
  const shown = text
    .slice(0, 1024)
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '')
    .replace(/\s+/g, ' ')
    .trim();
  return [...shown].slice(0, 64).join('');
}
