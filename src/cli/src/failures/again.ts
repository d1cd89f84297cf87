import type { AmeshError } from '@authmesh/sdk/core';
import { loadCore } from '../machine/load';
import { here } from '../words/here';
import { shellWord } from '../words/shell';

const LISTEN = 'amesh listen';
const INVITE = 'amesh invite';

/** What to do on the machine that listens, said on the one that invites. */
const OVER_THERE: Readonly<Record<string, string>> = {
  code_expired: 'Run again on the other machine',
  code_used: 'If it was not you, get a new one on the other machine',
  codes_differ: 'This code is spent. Start again on the other machine',
};

/**
 * A fix of the SDK that ends with `amesh listen`, with the options of the command that failed. Without them it would be
 * another attempt.
 *
 * @param path the command that failed, as it is typed
 * @param rawArgs what was behind it
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

/** The code is spent, and was one word or two. */
function withoutCode(rawArgs: readonly string[]): string[] {
  return rawArgs.filter((word) => !/^[\d\s-]+$/.test(word)).map(shellWord);
}
