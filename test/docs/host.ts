import { type ChildProcess, fork } from 'node:child_process';

/** A program of a page. */
export interface Program {
  readonly path: string;
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  /** Whether it stays up until the next one, or {@link Host.stop}. */
  readonly isServer: boolean;
}

interface Message {
  readonly output?: string;
  readonly code?: number;
  readonly isReady?: boolean;
}

/** A process for the programs of one side, which saves each of them the start of Node and of its frameworks. */
export class Host {
  #child: ChildProcess | undefined;
  #hear: (message: Message) => void = () => {};

  /**
   * Starts a program, and waits for its end, or until a server has been loaded.
   *
   * @param onOutput hears what it writes, also later
   */
  async run(program: Program, onOutput: (text: string) => void, timeoutMs: number): Promise<number> {
    this.#child ??= await this.#start();
    return this.#send(program, onOutput, timeoutMs);
  }

  /** Closes what the last program has left open. */
  async stop(): Promise<void> {
    if (this.#child !== undefined) await this.#send({}, () => {}, 20_000);
  }

  /** Ends the process. */
  kill(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  async #start(): Promise<ChildProcess> {
    const child = fork(new URL('processes/host.mjs', import.meta.url).pathname, [], {
      env: {},
      execArgv: [],
      stdio: 'inherit',
    });
    child.on('message', (message: Message) => this.#hear(message));
    child.on('exit', (code) => {
      if (this.#child === child) this.#child = undefined;
      this.#hear({ code: code ?? -1 });
    });
    await new Promise<void>((resolve, reject) => {
      this.#hear = ({ isReady }) => (isReady ? resolve() : reject(new Error('The host has ended.')));
    });
    return child;
  }

  #send(message: object, onOutput: (text: string) => void, timeoutMs: number): Promise<number> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        onOutput(`It has not ended after ${timeoutMs} ms.\n`);
        this.kill();
        resolve(-1);
      }, timeoutMs);
      this.#hear = ({ output, code }) => {
        if (output !== undefined) onOutput(output);
        if (code === undefined) return;
        clearTimeout(timer);
        resolve(code);
      };
      this.#child?.send(message);
    });
  }
}
