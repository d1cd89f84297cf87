const MAX_CODE_POINTS = 64;

// Whole sequences: without its first character, the rest would be visible garbage. OSC contains text and comes before CSI
// and the two-character sequences, since `ESC ]` looks like one of them.
const ANSI =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to remove
  /(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]/g;
// Control, format (including bidi and zero-width characters), surrogate, private and unassigned characters, and those
// that look empty, such as the Hangul filler and the Braille pattern without dots.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}\u2028\u2029\u2800]/gu;

/**
 * Makes a name from a peer safe to print and store: well-formed Unicode, without control, ANSI and bidi characters, one
 * line, at most 64 code points, and never like a device ID.
 */
export function cleanName(name: string): string {
  const text = name
    .toWellFormed()
    .slice(0, 4096)
    .replace(ANSI, '')
    .replace(/[\t\n\r]/g, ' ')
    .replace(UNSEEN, '')
    .normalize('NFC')
    .replace(/\s+/g, ' ')
    .trim();
  const short = [...(/^am_/i.test(text) ? `device ${text}` : text)].slice(0, MAX_CODE_POINTS).join('').trim();
  return short === '' ? 'unnamed' : short;
}

/** How many suffixes to try in one pass over the list. */
const NUMBERS = 63;

/**
 * A name that no other device in a list has, with a number appended if needed. It is the smallest free number up to 64; if
 * all of those are taken, one larger than the length of the list, which one more pass finds.
 */
export function uniqueName(name: string, taken: readonly string[]): string {
  const lower = name.toLowerCase();
  if (!taken.some((other) => other.toLowerCase() === lower)) return name;
  const characters = [...name];
  const toName = (number: number) => {
    const suffix = `-${number}`;
    return characters.slice(0, MAX_CODE_POINTS - suffix.length).join('') + suffix;
  };
  let [first, count] = [2, NUMBERS];
  for (;;) {
    const names = Array.from({ length: count }, (_, i) => toName(first + i));
    const free = new Map(names.map((candidate) => [candidate.toLowerCase(), candidate]));
    for (const other of taken) free.delete(other.toLowerCase());
    const [found] = free.values();
    if (found !== undefined) return found;
    first = Math.max(first + count, taken.length + 1);
    count *= 2; // callers choose names, and must not cause many passes
  }
}
