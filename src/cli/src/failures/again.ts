import type { AmeshError } from '@authmesh/sdk/core';
import { loadCore } from '../machine/load';
import { here } from '../words/here';
import { shellWord } from '../words/shell';

const LISTEN = 'amesh listen';
const INVITE = 'amesh invite';

/** What to do on the listening machine, for a message on the inviting one. */
const OVER_THERE: Readonly<Record<string, string>> = {
  code_expired: 'Run it again on the other machine',
  code_used: 'If you did not use it, get a new one on the other machine',
  codes_differ: 'This code cannot be used again. Start again on the other machine',
};

/**
 * The fix of an SDK error that ends with `amesh listen`, with the options of the failed command, so that the user can
 * repeat it.
 *
 * @param path the failed command as typed
 * @param rawArgs its arguments
 * @returns null for any other fix or command
 */
export async function pairAgain(
  error: AmeshError,
  path: string,
  rawArgs: readonly string[],
): Promise<string | null> {
  if (error.command?.join(' ') !== LISTEN) return null;
  const { fixWith } = await loadCore();
  if (path === LISTEN) return fixWith(error, () => here([LISTEN, ...rawArgs.map(shellWord)].join(' ')));
  if (path !== INVITE) return null;
  const where = OVER_THERE[error.code] ?? 'Start again on the other machine';
  return `${where}: ${LISTEN}, and then here: ${here([INVITE, 'CODE', ...withoutCode(rawArgs)].join(' '))}`;
}

/** The arguments without the used code, which may be one word or two. */
function withoutCode(rawArgs: readonly string[]): string[] {
  return rawArgs.filter((word) => !/^[\d\s-]+$/.test(word)).map(shellWord);
}
