import { defineCommand } from 'citty';
import { type Command, type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { SUMMARIES } from './summaries';

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;

/** The command `amesh complete` for a root command. */
export function completeFor(root: Command): Command {
  return defineCommand({
    meta: {
      name: 'complete',
      description: SUMMARIES.complete,
    },
    args: {
      shell: { type: 'positional', required: true, valueHint: SHELLS.join('|'), description: 'The shell' },
      ...SHARED_ARGS,
    },

    async run({ args }): Promise<Result> {
      const { shell } = args;
      if (!SHELLS.some((known) => known === shell)) {
        throw new UsageError(`There is no completion for ${JSON.stringify(shell)}.`, {
          hint: `The shells are ${SHELLS.join(', ')}.`,
        });
      }
      return { json: { shell }, data: await printed(root, [shell]) };
    },
  });
}

/**
 * Called by the shell scripts at each press of Tab.
 *
 * @param words the command line so far, without `amesh`
 */
export async function completionsOf(root: Command, words: readonly string[]): Promise<readonly string[]> {
  return printed(root, ['--', ...words]);
}

/** The library prints to the console. Here only run.ts prints, so this captures the lines. Nothing else runs at that time. */
async function printed(root: Command, rawArgs: string[]): Promise<string[]> {
  const { default: tab } = await import('@bomb.sh/tab/citty');
  const own: Command = { ...root, subCommands: { ...(root.subCommands as object) } };
  await tab(own);
  const { complete } = own.subCommands as Record<string, Command>;
  const lines: string[] = [];
  const { log } = console;
  console.log = (...parts: unknown[]) => void lines.push(parts.join(' '));
  try {
    await complete?.run?.({ rawArgs, args: { _: rawArgs } as never, cmd: complete });
  } finally {
    console.log = log;
  }
  return lines.join('\n').split('\n');
}
