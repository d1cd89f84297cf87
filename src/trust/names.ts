const MAX_CODE_POINTS = 64;

// Whole sequences: without their first character the rest would stay as visible rubbish. OSC, which holds text, goes
// before CSI and the two-character ones, since `ESC ]` looks like one of those.
const ANSI =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|[\x1b\x9b]\[?[0-?]*[ -/]*[@-~]/g;
// Control, format (bidi and zero-width characters among them), surrogate, private, unassigned, and what shows as
// nothing, such as the Hangul filler and the Braille pattern without dots.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}\u2028\u2029\u2800]/gu;

/**
 * A name that a peer gave, made safe to print and store: well-formed Unicode, without control, ANSI and bidi
 * characters, one line, at most 64 code points, and never like an id.
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

/** How many numbers are tried in one look through the list. */
const NUMBERS = 63;

/**
 * A name that no other device of a list has: with a number behind it where need be. The smallest that is free, up to
 * 64; where all of those are taken it is one beyond the length of the list, which is found in one more look.
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
    count *= 2; // a caller that chooses names must not make it look again and again
  }
}
