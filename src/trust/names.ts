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

/** A name that no other device of a list has: with a number behind it where need be. */
export function uniqueName(name: string, taken: readonly string[]): string {
  const lower = name.toLowerCase();
  if (!taken.some((other) => other.toLowerCase() === lower)) return name; // without a set of 100,000
  const others = new Set(taken.map((other) => other.toLowerCase()));
  for (let number = 2; ; number++) {
    const suffix = `-${number}`;
    const candidate = [...name].slice(0, MAX_CODE_POINTS - suffix.length).join('') + suffix;
    if (!others.has(candidate.toLowerCase())) return candidate;
  }
}
