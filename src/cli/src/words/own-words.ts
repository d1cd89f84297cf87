/** How a command says what the SDK calls by the options of its API; null for what it does not have. */
export interface OwnWords {
  readonly answers: string | null;
  readonly unprovenBody: string | null;
}

const CURL = { answers: '--answers', unprovenBody: null };

/** The words of each command that lets users choose which responses have to be proven. */
const OWN_WORDS: Readonly<Record<string, OwnWords>> = {
  'amesh curl': CURL,
  'amesh proxy': { ...CURL, unprovenBody: '--allow-unproven-bodies' },
};

/**
 * A text of the SDK about proofs, in the words of a command.
 *
 * @param path the command as typed
 */
export function inOwnWords(text: string, path: string): string {
  const { answers, unprovenBody } = OWN_WORDS[path] ?? { answers: null, unprovenBody: null };
  const asFlags =
    answers === null
      ? text.replace(/,? or (?:with|call it without) answers: '\w+'/, '')
      : text.replace(/answers: '(\w+)'/, `${answers} $1`);
  return asFlags.replace(' (allowUnprovenBody)', unprovenBody === null ? '' : ` (${unprovenBody})`);
}
