import { type ChildProcess, spawn } from 'node:child_process';
import { BIN, type Machine } from '../cli/amesh';

export interface CommandOptions {
  /** `pipe` stays open until {@link Command.type} or {@link Command.end}; default. */
  readonly stdin?: 'pipe' | 'ignore';
  readonly env?: Readonly<Record<string, string>>;
  /** A file that node loads first. */
  readonly preload?: string;
  /** What node runs, with its own flags; default the command where it was built. */
  readonly bin?: readonly string[];
  /** What starts node, such as a program that enters a network first; default nothing. */
  readonly by?: readonly string[];
}

/** The real command off a terminal, while it runs. */
export class Command {
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();
  stdout = '';
  stderr = '';
  #isOver = false;
  /** The exit code, once all that it wrote is here; null where a signal has ended it. */
  readonly ended: Promise<number | null>;

  constructor(machine: Machine, args: readonly string[], options: CommandOptions = {}) {
    const { stdin = 'pipe', env, preload, bin = [BIN], by = [] } = options;
    const words = [...(preload === undefined ? [] : ['--import', preload]), ...bin, ...args];
    const [file = '', ...rest] = [...by, process.execPath, ...words];
    this.#child = spawn(file, rest, { env: machine.env(env), stdio: [stdin, 'pipe', 'pipe'] });
    this.#child.stdin?.on('error', () => {});
    for (const name of ['stdout', 'stderr'] as const) {
      this.#child[name]?.setEncoding('utf8').on('data', (text: string) => {
        this[name] += text;
        this.#look();
      });
    }
    this.ended = new Promise((resolve) => {
      this.#child.on('close', (code) => {
        this.#isOver = true;
        this.#look();
        resolve(code);
      });
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  /** Waits for a text on either stream, and gives what its first group has matched. */
  until(what: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = what.exec(this.stdout) ?? what.exec(this.stderr);
        if (match === null && !this.#isOver) return;
        this.#waiting.delete(look);
        if (match !== null) resolve(match[1] ?? match[0]);
        else reject(new Error(`It ended without ${what}:\n${this.stdout}\n${this.stderr}`));
      };
      this.#waiting.add(look);
      look();
    });
  }

  /** A line on stdin, which stays open. */
  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Closes stdin. */
  end(): void {
    this.#child.stdin?.end();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** What `--json` has printed, object by object. */
  get objects(): Record<string, unknown>[] {
    return this.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  #look(): void {
    for (const look of this.#waiting) look();
  }
}
