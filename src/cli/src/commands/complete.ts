import { defineCommand } from 'citty';
import { type Command, type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const;

/** The command, for the command line whose words it completes. */
export function completeFor(root: Command): Command {
  return defineCommand({
    meta: {
      name: 'complete',
      description: 'Prints a script by which a shell completes the commands and flags of amesh',
    },
    args: {
      shell: { type: 'positional', required: true, valueHint: SHELLS.join('|'), description: 'Which shell' },
      ...SHARED_ARGS,
    },

    async run({ args }): Promise<Result> {
      const { shell } = args;
      if (!SHELLS.some((known) => known === shell)) {
        throw new UsageError(`There is no completion for ${JSON.stringify(shell)}.`, {
          hint: `There is one for ${SHELLS.join(', ')}.`,
        });
      }
      return { json: { shell }, data: await printed(root, [shell]) };
    },
  });
}

/**
 * What the scripts of the shells ask for at each press of Tab.
 *
 * @param words the command line so far, without `amesh`
 */
export async function completionsOf(root: Command, words: readonly string[]): Promise<readonly string[]> {
  return printed(root, ['--', ...words]);
}

/** The library prints; here only run.ts does, so its lines are caught. Nothing else runs meanwhile. */
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
