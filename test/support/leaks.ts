import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { claimsOf } from './tokens';

/** What nobody may see of a token: all but its header, which is the same in all of them. */
export async function secretsOf(token: string): Promise<string[]> {
  const { jwk, secret } = claimsOf(token);
  return [...token.split('.').slice(1), jwk?.d ?? secret];
}

/** What `ps` shows of every process on this machine. */
export async function processTable(): Promise<string> {
  const shown = (await readdir('/proc'))
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => ['cmdline', 'comm', 'status'].map((file) => `/proc/${pid}/${file}`))
    .map((path) => readFile(path, 'utf8').catch(() => '')); // it may be gone
  return (await Promise.all(shown)).join('\n');
}

export async function filesBelow(dir: string): Promise<string> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
  return (await Promise.all(files.map((file) => readFile(file, 'latin1')))).join('\n');
}

/** @throws Error where a text shows one of some secrets */
export function expectNone(text: string, secrets: readonly string[]): void {
  for (const secret of secrets)
    if (text.includes(secret)) throw new Error(`It shows ${secret.slice(0, 12)}…`);
}
