import { root } from './commands/root';
import { run } from './run';

/**
 * Runs the command line and sets the exit code of the process, which then ends by itself once all is written.
 *
 * @param argv the arguments; default those of the process
 */
export async function main(argv: readonly string[] = process.argv.slice(2)): Promise<void> {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error; // `amesh list | head -1` has all it wants
    });
  }
  process.exitCode = await run(root, argv);
}
