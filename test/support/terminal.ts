import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';

/** Whether this machine has the `script` of util-linux, which gives a command a pseudo-terminal. */
export const hasTerminal = spawnSync('script', ['--version']).stdout?.includes('util-linux') ?? false;

/** A command on a pseudo-terminal, with somebody who reads and types. */
export class Terminal {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Set<() => void>();
  /** All that was written, with every control sequence. */
  raw = '';
  #isOver = false;
  /** The exit code, once it has ended. */
  readonly ended: Promise<number | null>;

  constructor(words: readonly string[], env: Readonly<Record<string, string | undefined>>) {
    const command = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
    this.#child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      env: { TERM: 'xterm', NO_COLOR: '1', ...env },
    });
    this.#child.stdin.on('error', () => {});
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.raw += text;
      this.#look();
    });
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code) => {
        this.#isOver = true;
        this.#look();
        resolve(code);
      });
    });
  }

  /** What is on the screen: lines that were drawn over are gone. */
  get screen(): string {
    const lines = this.raw.replaceAll('\r\n', '\n').replaceAll('\u001b[1G', '\r').split('\n');
    return lines
      .map((line) => {
        const drawn = line.split('\r').map((part) => ({
          // biome-ignore lint/suspicious/noControlCharactersInRegex: what is looked for
          text: part.replace(/\u001b\[[0-9;?]*[A-Za-z]/g, ''),
          erases: part.includes('\u001b[K') || part.includes('\u001b[0J'),
        }));
        let shown = '';
        for (const { text, erases } of drawn) shown = erases ? text : text + shown.slice(text.length);
        return shown;
      })
      .join('\n');
  }

  /** Waits for something to be on the screen, and gives what its first group has matched. */
  until(what: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = what.exec(this.screen);
        if (match === null && !this.#isOver) return;
        this.#waiting.delete(look);
        if (match !== null) resolve(match[1] ?? match[0]);
        else reject(new Error(`It ended without showing ${what}:\n${this.screen}`));
      };
      this.#waiting.add(look);
      look();
    });
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #look(): void {
    for (const look of this.#waiting) look();
  }
}

/** Two people pair two machines: one at each terminal, who do what the screens say. */
export async function pairOnTerminals(
  target: Terminal,
  invite: (command: string) => Terminal,
): Promise<Terminal> {
  const controller = invite(
    await target.until(/On (?:the calling|this) machine run(?: this whole line)?: +(amesh invite .+)/),
  );
  const code = await controller.until(/Type this on ".+": +(\d{3} \d{3})/);
  await target.until(/Code on the other screen: /);
  target.type(`${code}\r`);
  await target.until(/VERIFIED \d{3} \d{3}/);
  await controller.until(/Does the target say VERIFIED \d{3} \d{3}\? \[y\/N\] /);
  controller.type('y\r');
  return controller;
}
