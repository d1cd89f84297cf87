import { execFileSync } from 'node:child_process';

/** What a program in another language needs to run: an interpreter or compiler, with what it imports. */
export interface Language {
  /** As a message names it. */
  readonly needs: string;
  /** The command that runs a file. */
  readonly command: readonly [string, ...string[]];
  /** One that succeeds where everything is there. */
  readonly probe: readonly [string, ...string[]];
}

const LANGUAGES: Readonly<Record<string, Language>> = {
  python: {
    needs: 'python3 with cryptography',
    command: ['python3'],
    probe: ['python3', '-c', 'import cryptography'],
  },
  go: { needs: 'go', command: ['go', 'run'], probe: ['go', 'version'] },
};

export function languageOf(name: string): Language | undefined {
  return Object.hasOwn(LANGUAGES, name) ? LANGUAGES[name] : undefined;
}

/** Whether it is here. In CI everything is, so what is missing there is found out by failing. */
export function isAbsent({ probe: [command, ...args] }: Language, path = '/usr/bin:/bin'): boolean {
  if (process.env.CI === 'true') return false;
  try {
    execFileSync(command, args, { env: { PATH: path, HOME: '/nonexistent' }, stdio: 'ignore' });
    return false;
  } catch {
    return true;
  }
}
