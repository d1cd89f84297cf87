import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { shellWord } from '../shell';
import { type Finding, failed, ok, skipped, warning } from './finding';

const MAX_FILES = 100;

/** The folder and what lies in it: whose it is, and who else gets at it. One finding for each thing that is wrong. */
export async function checkFolder(dir: string): Promise<Finding[]> {
  const folder = await look(dir);
  if (folder === null) return [skipped(`There is no ${dir}.`)];
  if (!folder.isDirectory()) return [failed(`${dir} is no folder.`, 'Set AUTH_MESH_DIR, or move that file.')];
  if (process.platform === 'win32') return [ok(dir)]; // modes say nothing there

  const findings = [...belongsToUs(dir, folder), ...isOpen(dir, folder)];
  const keys = await readdir(join(dir, 'keys')).catch(() => []);
  const secrets = ['.passphrase', ...keys.slice(0, MAX_FILES).map((name) => join('keys', name))];
  for (const name of secrets) findings.push(...isReadable(join(dir, name), await look(join(dir, name))));
  for (const name of ['identity.json', 'allow_list.json', 'seen.json'])
    findings.push(...isWritable(join(dir, name), await look(join(dir, name))));
  return findings.length > 0 ? findings : [ok(`${dir} (${modeText(folder)}).`)];
}

/** Whether a path leads to something that can be read only once, or may never end. */
export async function isPipe(path: string): Promise<boolean> {
  const found = await look(path);
  return found !== null && !found.isFile() && !found.isDirectory();
}

async function look(path: string): Promise<Stats | null> {
  return stat(path).catch(() => null); // what cannot be seen is told by whoever needs it
}

function belongsToUs(dir: string, { uid }: Stats): Finding[] {
  if (uid === process.geteuid?.()) return [];
  return [
    warning(
      `${dir} belongs to another user (${uid}).`,
      'Run amesh and the server as that user, or give each its own AUTH_MESH_DIR.',
    ),
  ];
}

function isOpen(dir: string, folder: Stats): Finding[] {
  if ((folder.mode & 0o077) === 0) return [];
  const what = (folder.mode & 0o022) === 0 ? 'can be looked into' : 'can be written';
  return [warning(`${dir} ${what} by others (${modeText(folder)}).`, `chmod 700 ${shellWord(dir)}`)];
}

function isReadable(path: string, file: Stats | null): Finding[] {
  if (file === null || (file.mode & 0o077) === 0) return [];
  const mode = path.endsWith('.passphrase') ? '400' : '600';
  return [warning(`${path} is open to others (${modeText(file)}).`, `chmod ${mode} ${shellWord(path)}`)];
}

function isWritable(path: string, file: Stats | null): Finding[] {
  if (file === null || (file.mode & 0o022) === 0) return [];
  return [warning(`${path} can be written by others (${modeText(file)}).`, `chmod 600 ${shellWord(path)}`)];
}

function modeText({ mode }: Stats): string {
  return `0${(mode & 0o777).toString(8).padStart(3, '0')}`;
}
