import { resolve } from 'node:path';
import { shellWord } from './shell';

/** A command for this machine, which acts on the same folder in whatever shell it is pasted into. */
export function here(command: string): string {
  const dir = process.env.AUTH_MESH_DIR;
  return dir ? `AUTH_MESH_DIR=${shellWord(resolve(dir))} ${command}` : command;
}

/**
 * A command that an error of the SDK names, as it is typed here: what is missing has to lie beside this command, which is
 * mostly global.
 */
export function commandHere([program = '', ...words]: readonly string[]): string {
  if (program === 'npm') return [program, words[0], '--global', ...words.slice(1)].join(' ');
  const line = [program, ...words.map(shellWord)].join(' ');
  return program === 'amesh' ? here(line) : line;
}
