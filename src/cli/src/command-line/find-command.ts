import type { ArgsDef } from 'citty';
import { UsageError } from '../errors/errors';
import { here } from '../words/here';
import { nearest } from '../words/nearest';
import { inviteFor } from '../words/pairing-code';
import { printable } from '../words/printable';
import { checkArguments } from './arguments';
import type { Command } from './command';
import { usageHint } from './usage';

/** A command and its own arguments. */
export interface Found {
  /** The command as typed: `amesh trust add`. */
  readonly path: string;
  readonly command: Command;
  readonly rawArgs: string[];
}

/**
 * Finds the command in the arguments. citty would lose flags before it.
 *
 * @throws UsageError for an unknown command
 */
export async function findCommand(root: Command, argv: readonly string[]): Promise<Found> {
  let path = 'amesh';
  let command = root;
  const rawArgs: string[] = [];
  const words = [...argv];
  while (words.length > 0 && command.subCommands !== undefined) {
    const word = words.shift() as string;
    const subCommands = command.subCommands as Record<string, () => Promise<Command>>;
    if (word === '--') {
      rawArgs.push(word);
      break;
    }
    if (word.startsWith('-')) {
      rawArgs.push(word);
    } else if (command === root && (word === 'help' || word === 'version')) {
      rawArgs.push(`--${word}`);
    } else if (Object.hasOwn(subCommands, word)) {
      assertShared(rawArgs, command, path);
      command = await (subCommands[word] as () => Promise<Command>)();
      path = `${path} ${word}`;
    } else if (takesWords(command)) {
      words.unshift(word);
      break;
    } else {
      assertShared(rawArgs, command, path);
      throw unknownCommand([word, ...words], path, command, Object.keys(subCommands));
    }
  }
  return { path, command, rawArgs: [...rawArgs, ...words] };
}

/** Whether a command that has commands below it takes other words, too. */
function takesWords({ args = {} }: Command): boolean {
  return Object.values(args as ArgsDef).some(({ type }) => type === 'positional');
}

/** Only shared flags may come before the command: the value of another flag would look like a command. */
function assertShared(flags: readonly string[], command: Command, path: string): void {
  try {
    checkArguments(flags, command.args as ArgsDef, path);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(error.message, {
      hint: 'Put the flags of a command after it.',
      usage: usageHint(path, command),
    });
  }
}

function unknownCommand(
  words: readonly string[],
  path: string,
  command: Command,
  known: readonly string[],
): UsageError {
  const [word = ''] = words;
  const invite = inviteFor(words.filter((each) => !each.startsWith('-')));
  if (invite !== null) {
    throw new UsageError(`There is no command ${path} ${word}.`, { hint: `Did you mean: ${here(invite)}` });
  }
  const meant = nearest(word, known);
  const shown = printable(word.length > 60 ? `${word.slice(0, 59)}…` : word);
  return new UsageError(`There is no command ${path} ${shown}.`, {
    hint: meant === undefined ? `See: ${path} --help` : `Did you mean: ${path} ${meant}`,
    usage: usageHint(path, command),
  });
}
