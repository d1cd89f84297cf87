import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';

/** What of the process a command sees while it runs in this one. */
interface World {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: PassThrough;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly signals: EventEmitter;
}

const NAMES = ['env', 'stdin', 'stdout', 'stderr'] as const;
const LISTENING = ['on', 'once', 'off', 'addListener', 'removeListener'] as const;
const worlds = new AsyncLocalStorage<World>();
let hasWorlds = false;

/** From here on each command sees its own world where it asks `process`; everybody else sees what was there before. */
function openWorlds(): void {
  if (hasWorlds) return;
  hasWorlds = true;
  for (const name of NAMES) {
    const own = Object.getOwnPropertyDescriptor(process, name) as PropertyDescriptor;
    let outside = own.value;
    Object.defineProperty(process, name, {
      configurable: true,
      enumerable: true,
      get: () => worlds.getStore()?.[name] ?? (own.get ? own.get.call(process) : outside),
      set: (value) => {
        outside = value;
      },
    });
  }
  for (const name of LISTENING) {
    const outside = process[name] as (event: string | symbol, listener: () => void) => typeof process;
    Object.assign(process, {
      [name](event: string | symbol, listener: () => void) {
        const signals = /^SIG/.test(String(event)) ? worlds.getStore()?.signals : undefined;
        if (signals === undefined) return outside.call(process, event, listener);
        signals[name](event, listener);
        return process;
      },
    });
  }
}

/** A stream that passes on what is written to it. It is no terminal. */
class Heard extends Writable {
  constructor(private readonly hear: (text: string) => void) {
    super();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.hear(chunk.toString());
    done();
  }
}

/** A command that runs in this process. */
export interface Running {
  /** The exit code. */
  readonly ended: Promise<number>;
  /** Writes to stdin, which stays open. */
  type(text: string): void;
  /** Closes stdin. */
  end(): void;
  /** @throws Error where the command has not asked for this signal: it would end a process at once */
  kill(signal: NodeJS.Signals): void;
}

/** Hears what a command writes, piece by piece. */
export interface Hearing {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
}

/**
 * Starts the built command in this process: what its binary runs, off a terminal, with an environment, streams and
 * signals of its own. Several may run at once.
 *
 * @param main of the command, as it was built
 */
export function startInProcess(
  main: (argv: readonly string[]) => Promise<number>,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  hearing: Hearing,
): Running {
  openWorlds();
  const world: World = {
    // A process has no variable without a value.
    env: Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined)),
    stdin: new PassThrough(),
    stdout: new Heard(hearing.stdout),
    stderr: new Heard(hearing.stderr),
    signals: new EventEmitter(),
  };
  world.stdin.on('error', () => {}); // most commands never read it, and some close it
  let isOver = false;
  const ended = worlds.run(world, async () => {
    try {
      return await main(argv);
    } finally {
      isOver = true;
      process.exitCode = undefined; // it was the command's, and is not that of the tests
    }
  });
  return {
    ended,
    type: (text) => worlds.run(world, () => void world.stdin.write(text)),
    end: () => worlds.run(world, () => void world.stdin.end()),
    kill(signal) {
      if (isOver) return;
      if (!worlds.run(world, () => world.signals.emit(signal))) {
        throw new Error(`The command does not listen to ${signal} yet. Wait for what it writes.`);
      }
    },
  };
}
