/** Enough characters to recognise a machine. The whole name is stored, and is shown once the machine is trusted. */
const MAX_SHOWN = 32;

/** Everything except letters, digits, and characters of names and addresses. Only this program may print ticks and arrows. */
const STRANGE = /[^\p{L}\p{N}\p{M} .,_@:/+()'-]/gu;

/** Digits like those of a code, and words that this program uses about codes. */
const CODE = /\p{Nd}{3}[ -]?\p{Nd}{3}/u;
const VERDICT = /verif|trusted|confirm/i;
const ID = /am_[\w-]{8,}/i;

/** The name of a machine that is not trusted yet, for display. */
export interface PeerName {
  /** In quotes, on one line, at most 32 characters and an ellipsis. */
  readonly shown: string;
  /** Whether it resembles this program's output: a code, an ID, a verdict, a mark. */
  readonly isMisleading: boolean;
}

/**
 * Makes an unverified name impossible to confuse with this program's own output.
 *
 * @param name the cleaned name
 */
export function peerName(name: string): PeerName {
  const isMisleading = [STRANGE, CODE, VERDICT, ID].some((pattern) => name.search(pattern) !== -1);
  const plain = isMisleading ? name.replace(STRANGE, '?').replace(/\p{N}/gu, '#') : name;
  const characters = [...plain];
  const short = characters.length > MAX_SHOWN ? `${characters.slice(0, MAX_SHOWN).join('')}…` : plain;
  return { shown: `"${short}"`, isMisleading };
}

/** Letters that are written from right to left, and characters that the Unicode Bidirectional Algorithm treats like them. */
const FROM_RIGHT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/**
 * A text, followed by digits that somebody types or compares. On a line with letters from right to left, a terminal would swap the
 * groups of digits (UAX #9, rule N1), so the digits then get a line of their own.
 */
export function withDigits(text: string, digits: string): string[] {
  return FROM_RIGHT.test(text) ? [`  ${text}:`, `      ${digits}`] : [`  ${text}:   ${digits}`];
}

/** A note for a name with {@link PeerName.isMisleading}. */
export function misleadingNote(name: PeerName): string[] {
  if (!name.isMisleading) return [];
  return [
    '! This is what the other machine calls itself. The name looks like a code, an ID or an answer, so parts of it are hidden.',
  ];
}
