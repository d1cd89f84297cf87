import { resolve } from 'node:path';
import { shellWord } from './shell';

/** A command for this machine, which acts on the same folder in whatever shell it is pasted into. */
export function here(command: string): string {
  const dir = process.env.AUTH_MESH_DIR;
  return dir ? `AUTH_MESH_DIR=${shellWord(resolve(dir))} ${command}` : command;
}
