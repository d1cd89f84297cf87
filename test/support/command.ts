import { spawn } from 'node:child_process';
import { BIN, builtMain, type Machine, type Needs } from '../cli/amesh';
import { type Hearing, type Running, startInProcess } from './in-process';

export interface CommandOptions extends Omit<Needs, 'cwd'> {
  /** `pipe` stays open until {@link Command.type} or {@link Command.end}; default. */
  readonly stdin?: 'pipe' | 'ignore';
  /** A file that node loads first. */
  readonly preload?: string;
  /** What node runs, with its own flags; default the command where it was built. */
  readonly bin?: readonly string[];
  /** What starts node, such as a program that enters a network first; default nothing. */
  readonly by?: readonly string[];
}

/** A command that runs: in a process of its own, or in this one. */
interface Started {
  readonly ended: Promise<number | null>;
  readonly pid?: number | undefined;
  type(text: string): void;
  end(): void;
  kill(signal: NodeJS.Signals): void;
}

/**
 * The real command off a terminal, while it runs. A relay, and what a process has alone, runs in a process of its own;
 * everything else does so where `AMESH_CLI=process`.
 */
export class Command {
  readonly #started: Started;
  readonly #waiting = new Set<() => void>();
  stdout = '';
  stderr = '';
  #isOver = false;
  /** The exit code, once all that it wrote is here; null where a signal has ended it. */
  readonly ended: Promise<number | null>;

  constructor(machine: Machine, args: readonly string[], options: CommandOptions = {}) {
    const { preload, bin, by } = options;
    const isProcess =
      [preload, bin, by].some((option) => option !== undefined) ||
      args[0] === 'relay' || // which runs on once the command has returned
      machine.needsProcess(options);
    const hearing = { stdout: this.#hear('stdout'), stderr: this.#hear('stderr') };
    this.#started = (isProcess ? startProcess : startHere)(machine, args, options, hearing);
    this.ended = this.#started.ended.finally(() => {
      this.#isOver = true;
      this.#look();
    });
  }

  /** Of a process of its own: give `isProcess` if the test needs it. */
  get pid(): number {
    const { pid } = this.#started;
    if (pid === undefined) throw new Error('It runs in the process of the test.');
    return pid;
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
    this.#started.type(`${line}\n`);
  }

  /** Closes stdin. */
  end(): void {
    this.#started.end();
  }

  kill(signal: NodeJS.Signals): void {
    this.#started.kill(signal);
  }

  /** What `--json` has printed, object by object. */
  get objects(): Record<string, unknown>[] {
    return this.stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line));
  }

  #hear(name: keyof Hearing): (text: string) => void {
    return (text) => {
      this[name] += text;
      this.#look();
    };
  }

  #look(): void {
    for (const look of this.#waiting) look();
  }
}

type Start = (
  machine: Machine,
  args: readonly string[],
  options: CommandOptions,
  hearing: Hearing,
) => Started;

const startProcess: Start = (machine, args, options, hearing) => {
  const { stdin = 'pipe', env, preload, bin = [BIN], by = [] } = options;
  const words = [...(preload === undefined ? [] : ['--import', preload]), ...bin, ...args];
  const [file = '', ...rest] = [...by, process.execPath, ...words];
  const child = spawn(file, rest, { env: machine.env(env), stdio: [stdin, 'pipe', 'pipe'] });
  child.stdin?.on('error', () => {});
  child.stdout?.setEncoding('utf8').on('data', hearing.stdout);
  child.stderr?.setEncoding('utf8').on('data', hearing.stderr);
  return {
    ended: new Promise((resolve) => child.on('close', resolve)),
    pid: child.pid,
    type: (text) => void child.stdin?.write(text),
    end: () => void child.stdin?.end(),
    kill: (signal) => void child.kill(signal),
  };
};

const startHere: Start = (machine, args, { stdin, env }, hearing) => {
  const running = builtMain().then((main) => startInProcess(main, args, machine.env(env), hearing));
  if (stdin === 'ignore') void running.then((it) => it.end());
  let kill: Running['kill'] = () => {
    throw new Error('The command has not begun yet. Wait for what it writes.');
  };
  void running.then((it) => {
    kill = it.kill;
  });
  return {
    ended: running.then((it) => it.ended),
    type: (text) => void running.then((it) => it.type(text)),
    end: () => void running.then((it) => it.end()),
    kill: (signal) => kill(signal),
  };
};
