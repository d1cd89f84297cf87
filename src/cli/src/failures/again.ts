import { here } from '../words/here';
import { shellWord } from '../words/shell';

const LISTEN = 'amesh listen';
const INVITE = 'amesh invite';

/**
 * A fix of the SDK that ends with `amesh listen`, with the options of the command that failed. Without them it would be
 * another attempt.
 *
 * @param path the command that failed, as it is typed
 * @param rawArgs what was behind it
 * @returns null for any other fix or command
 */
export function pairAgain(fix: string, path: string, rawArgs: readonly string[]): string | null {
  if (!fix.endsWith(`: ${LISTEN}`)) return null;
  const start = fix.slice(0, -LISTEN.length);
  if (path === LISTEN) return start + here([LISTEN, ...rawArgs.map(shellWord)].join(' '));
  if (path !== INVITE) return null;
  const where = start.replace(/(?: with| on the other machine)?: $/, ' on the other machine');
  return `${where}: ${LISTEN}, and then here: ${here([INVITE, 'CODE', ...withoutCode(rawArgs)].join(' '))}`;
}

/** The code is spent, and was one word or two. */
function withoutCode(rawArgs: readonly string[]): string[] {
  return rawArgs.filter((word) => !/^[\d\s-]+$/.test(word)).map(shellWord);
}
