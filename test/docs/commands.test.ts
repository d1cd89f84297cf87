import type { ArgsDef } from 'citty';
import { describe, expect, it } from 'vitest';
import { type Command, SHARED_ARGS } from '../../src/cli/src/command-line/command';
import { root } from '../../src/cli/src/commands/root';
import { readPage } from './blocks';

const README = 'src/cli/README.md';
const [, section = ''] = readPage(README).split('\n## Commands\n');
const [table = ''] = section.split('\n\nEvery command takes');
const usages = [...table.matchAll(/^\| `(.+?)` \| /gm)].map(([, usage = '']) => usage.replaceAll('\\|', '|'));

/** Every command that does something, by its words. */
async function commandsOf(command: Command, path: string[] = []): Promise<[string, Command][]> {
  const below = await Promise.all(
    Object.entries((command.subCommands ?? {}) as Record<string, () => Promise<Command>>).map(
      async ([word, load]) => commandsOf(await load(), [...path, word]),
    ),
  );
  const own: [string, Command][] = command.run === undefined ? [] : [[path.join(' '), command]];
  return [...own, ...below.flat()];
}

const commands = await commandsOf(root as Command);

describe(README, () => {
  it.each(commands)('shows every flag of amesh %s, and no other', (path, command) => {
    const flags = Object.entries(command.args as ArgsDef)
      .filter(([name, { type }]) => type !== 'positional' && !(name in SHARED_ARGS))
      .map(([name, arg]) => (arg.default === true ? `--no-${name}` : `--${name}`));
    // `tokens [cancel <id|name>]` stands for two commands.
    const rows = usages.filter((usage) => `${usage.replace(/[[\]]/g, '')} `.startsWith(`${path} `));
    const longer = commands.map(([other]) => other).filter((other) => other.startsWith(`${path} `));
    const own = rows.filter((usage) => !longer.some((other) => `${usage} `.startsWith(`${other} `)));
    expect(own).not.toEqual([]);
    const shown = own.flatMap((usage) => usage.match(/--[a-z-]+/g) ?? []).filter((flag) => flag !== '--yes');
    expect([...new Set(shown)].toSorted()).toEqual(flags.toSorted());
  });
});
