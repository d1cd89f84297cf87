import { resolve } from 'node:path';
import { shellWord } from './shell';

/** A command for this machine, which uses the same folder in any shell. */
export function here(command: string): string {
  const dir = process.env.AUTH_MESH_DIR;
  return dir ? `AUTH_MESH_DIR=${shellWord(resolve(dir))} ${command}` : command;
}

/**
 * A command from an SDK error, written for this shell. npm installs globally, because this command is usually installed
 * globally, too.
 */
export function commandHere([program = '', ...words]: readonly string[]): string {
  if (program === 'npm') return [program, words[0], '--global', ...words.slice(1)].join(' ');
  const line = [program, ...words.map(shellWord)].join(' ');
  return program === 'amesh' ? here(line) : line;
}

/** What to do about something, with the command if there is one, written for this shell. */
export function fixHere({ fix, command }: { fix: string; command?: readonly string[] | undefined }): string {
  return command === undefined ? fix : `${fix}: ${commandHere(command)}`;
}
