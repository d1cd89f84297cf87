import type { Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type FolderFinding, inspectFolder, modelessText } from '@authmesh/sdk/admin/list';
import { shellWord } from '../words/shell';
import { type Finding, failed, ok, skipped, warning } from './finding';
import { checkGit } from './git';

const MAX_FILES = 100;

/** Checks who owns the folder and its files, and who else can access them. Returns one finding per problem. */
export async function checkFolder(dir: string): Promise<Finding[]> {
  const unsafe = inspectFolder(dir, process.env); // works before the folder exists
  const folder = await look(dir);
  if (folder === null) return unsafe.length > 0 ? unsafe.map(toFinding) : [skipped(`There is no ${dir}.`)];
  if (!folder.isDirectory())
    return [failed(`${dir} is not a folder.`, 'Set AUTH_MESH_DIR, or move that file.')];
  const inside: Finding[] = await checkGit(dir);
  if (process.platform === 'win32') return inside.length > 0 ? inside : [ok(dir)]; // modes have no meaning on Windows

  const told = new Set<string>();
  const tell = (path: string, found: Finding[]) => {
    if (found.length > 0) told.add(path);
    inside.push(...found);
  };
  if (!unsafe.some(({ path }) => path === dir))
    tell(dir, [...belongsToRoot(dir, folder), ...isOpen(dir, folder)]);
  const keys = await readdir(join(dir, 'keys')).catch(() => []);
  const secrets = ['.passphrase', ...keys.slice(0, MAX_FILES).map((name) => join('keys', name))];
  for (const path of secrets.map((name) => join(dir, name))) tell(path, isReadable(path, await look(path)));
  for (const path of ['identity.json', 'allow_list.json', 'seen.json'].map((name) => join(dir, name)))
    tell(path, isWritable(path, await look(path)));
  const findings = [...unsafe.filter(({ path }) => !told.has(path)).map(toFinding), ...inside];
  return findings.length > 0 ? findings : [ok(`${dir} (${modeText(folder)}).`)];
}

function toFinding({ kind, message, fix }: FolderFinding): Finding {
  return kind === 'foreign' ? failed(message, fix) : warning(message, fix);
}

/** Whether a path leads to something that can only be read once, or may never end. */
export async function isPipe(path: string): Promise<boolean> {
  const found = await look(path);
  return found !== null && !found.isFile() && !found.isDirectory();
}

async function look(path: string): Promise<Stats | null> {
  return stat(path).catch(() => null); // the check that needs the file reports the error
}

function belongsToRoot(dir: string, { uid }: Stats): Finding[] {
  if (uid !== 0 || process.geteuid?.() === 0) return [];
  return [
    warning(
      `${dir} belongs to root.`,
      'Run amesh and the server as root, or use another folder (AUTH_MESH_DIR).',
    ),
  ];
}

function isOpen(dir: string, folder: Stats): Finding[] {
  if ((folder.mode & 0o077) === 0) return [];
  const what = (folder.mode & 0o022) === 0 ? 'can be read' : 'can be written';
  return [warning(`${dir} ${what} by others (${modeText(folder)}).`, chmodFix('700', dir))];
}

function isReadable(path: string, file: Stats | null): Finding[] {
  if (file === null || (file.mode & 0o077) === 0) return [];
  const mode = path.endsWith('.passphrase') ? '400' : path.endsWith('-helper') ? '700' : '600';
  return [warning(`${path} can be accessed by others (${modeText(file)}).`, chmodFix(mode, path))];
}

function isWritable(path: string, file: Stats | null): Finding[] {
  if (file === null || (file.mode & 0o022) === 0) return [];
  return [warning(`${path} can be written by others (${modeText(file)}).`, chmodFix('600', path))];
}

/** The chmod command, with a note if it would have no effect. */
function chmodFix(mode: string, path: string): string {
  const modeless = modelessText(path);
  return `chmod ${mode} ${shellWord(path)}${modeless === null ? '' : `   ${modeless}`}`;
}

function modeText({ mode }: Stats): string {
  return `0${(mode & 0o777).toString(8).padStart(3, '0')}`;
}
