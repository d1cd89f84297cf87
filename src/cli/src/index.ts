import { root } from './commands/root';
import { EXIT, type ExitCode } from './errors/exit-codes';
import { run } from './run';

/**
 * Runs the command line and sets the exit code. The process then ends once all output is written.
 *
 * @param argv the arguments; default those of the process
 * @returns the exit code
 */
export async function main(argv: readonly string[] = process.argv.slice(2)): Promise<ExitCode> {
  let isCut = false;
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') return; // `amesh list | head -1` reads no more
      isCut = true;
      process.exitCode = EXIT.failure;
      if (stream === process.stdout)
        process.stderr.write(`✗ The output could not be written: ${error.message}\n`);
    });
  }
  const exitCode = await run(root, argv);
  if (isCut) return EXIT.failure;
  process.exitCode = exitCode;
  return exitCode;
}
