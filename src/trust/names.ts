const MAX_CODE_POINTS = 64;

// Whole sequences are removed: without its first character, the rest of one would be visible garbage. OSC contains text. It comes
// before CSI and the two-character sequences, since `ESC ]` looks like one of them.
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
