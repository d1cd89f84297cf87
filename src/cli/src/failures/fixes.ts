import type { AmeshError } from '@authmesh/sdk/core';
import { loadList } from '../machine/load';
import { here } from '../words/here';
import { shellWord } from '../words/shell';

/**
 * A fix that depends on the failed command, instead of the SDK's.
 *
 * @param error the error of the SDK
 * @param path the failed command as typed
 * @param rawArgs its arguments
 * @returns null if the SDK's fix is right
 */
export async function fixOf(
  { code, fix, command }: AmeshError,
  path: string,
  rawArgs: readonly string[],
): Promise<string | null> {
  if (code === 'relay_unreachable' && command !== undefined) return withoutRelay(path, rawArgs);
  if (code === 'identity_exists' && path === 'amesh init') {
    const again = [`amesh init`, ...rawArgs.filter((word) => word !== '--force').map(shellWord)].join(' ');
    return `${fix} Or use a second folder, for example for a caller and a server on one machine: ${await elsewhere(again)}`;
  }
  if (code !== 'own_key' || (path !== 'amesh invite' && path !== 'amesh listen')) return null;
  const other = path === 'amesh invite' ? 'amesh listen' : 'amesh invite';
  return `Run ${other} on the other machine. If both run on this machine, each needs its own folder: ${await elsewhere('amesh init --name NAME')}, and then ${await elsewhere(path === 'amesh invite' ? 'amesh invite CODE' : 'amesh listen')}`;
}

function withoutRelay(path: string, rawArgs: readonly string[]): string | null {
  const exported = here('amesh trust export');
  if (path === 'amesh listen') {
    const serving = ['amesh listen --serve', ...withoutOption(rawArgs, '--relay').map(shellWord)].join(' ');
    return `On one network, no relay is needed: ${here(serving)}; with another relay: --relay URL; without any: ${exported}`; // a semicolon that is copied with the command does no harm in a shell
  }
  if (path !== 'amesh invite') return null;
  const isGiven = rawArgs.some((word) => /^--relay(?:=|$)/.test(word));
  const cause = 'Usually the line on the other screen has a --relay, and you must run the whole line.';
  return `${isGiven ? '' : `${cause} `}On one network, no relay is needed: run amesh listen --serve on the other machine. With another relay: --relay URL. Without any: ${exported}`;
}

/** A command that uses a second folder on this machine. */
async function elsewhere(command: string): Promise<string> {
  const { homeDir } = await loadList();
  return `AUTH_MESH_DIR=${shellWord(`${homeDir(undefined, process.env)}-2`)} ${command}`;
}

function withoutOption(words: readonly string[], name: string): string[] {
  return words.filter((word, i) => word !== name && words[i - 1] !== name && !word.startsWith(`${name}=`));
}
