import { AsyncLocalStorage } from 'node:async_hooks';
import { PassThrough, Writable } from 'node:stream';
import type { Ran } from '../cli/amesh';

/** What of the process a command sees while it runs in this one. */
interface World {
  readonly env: NodeJS.ProcessEnv;
  readonly stdin: PassThrough;
  readonly stdout: Writable;
  readonly stderr: Writable;
}

const NAMES = ['env', 'stdin', 'stdout', 'stderr'] as const;
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
}

/** A stream that keeps what is written to it. It is no terminal. */
class Kept extends Writable {
  #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }
}

/**
 * Runs the built command in this process: what its binary runs, off a terminal, with an environment and streams of its
 * own. Several may run at once.
 *
 * @param main of the command, as it was built
 */
export async function runInProcess(
  main: (argv: readonly string[]) => Promise<number>,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  input: string,
): Promise<Ran> {
  openWorlds();
  const [stdin, stdout, stderr] = [new PassThrough(), new Kept(), new Kept()];
  // A process has no variable without a value.
  const own = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined));
  const code = await worlds.run({ env: own, stdin, stdout, stderr }, async () => {
    stdin.end(input);
    try {
      return await main(argv);
    } finally {
      process.exitCode = undefined; // it was the command's, and is not that of the tests
    }
  });
  return { code, stdout: stdout.text, stderr: stderr.text };
}
