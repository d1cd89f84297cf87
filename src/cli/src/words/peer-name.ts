/** Enough to know a machine by; the whole name is stored and shown once it is trusted. */
const MAX_SHOWN = 32;

/** Letters, digits, and what stands in names and addresses. A tick or an arrow belongs to this program alone. */
const STRANGE = /[^\p{L}\p{N}\p{M} .,_@:/+()'-]/gu;

/** Digits in the form of a code, and words with which this program speaks of one. */
const CODE = /\p{Nd}{3}[ -]?\p{Nd}{3}/u;
const VERDICT = /verif|trusted|confirm/i;
const ID = /am_[\w-]{8,}/i;

/** What a machine calls itself, for a screen on which nothing is decided yet. */
export interface PeerName {
  /** Within quotes, one line, at most 32 characters and three dots. */
  readonly shown: string;
  /** Whether it looks like something that this program says: a code, an id, a verdict, a mark. */
  readonly isMisleading: boolean;
}

/**
 * A name that is not verified, in a form that cannot be taken for the program's own words.
 *
 * @param name as it was cleaned and stored
 */
export function peerName(name: string): PeerName {
  const isMisleading = [STRANGE, CODE, VERDICT, ID].some((pattern) => name.search(pattern) !== -1);
  const plain = isMisleading ? name.replace(STRANGE, '?').replace(/\p{N}/gu, '#') : name;
  const characters = [...plain];
  const short = characters.length > MAX_SHOWN ? `${characters.slice(0, MAX_SHOWN).join('')}…` : plain;
  return { shown: `"${short}"`, isMisleading };
}

/** The line that says so, for a name of {@link PeerName.isMisleading}. */
export function misleadingNote(name: PeerName): string[] {
  if (!name.isMisleading) return [];
  return [
    '! That is what the other machine calls itself. Its name looks like a code, an id or an answer, so parts are hidden.',
  ];
}
