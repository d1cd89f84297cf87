import { type ArgsDef, runCommand } from 'citty';
import { version } from '../package.json';
import { asksFor, checkArguments } from './command-line/arguments';
import type { Command, Result } from './command-line/command';
import { type Found, findCommand } from './command-line/find-command';
import { helpText, usageHint, usageLine } from './command-line/usage';
import { UsageError } from './errors/errors';
import { EXIT, type ExitCode } from './errors/exit-codes';
import { toFailure } from './failures/failure';
import { environmentNotes } from './machine/environment';
import {
  printAll,
  printFailure,
  printLines,
  printNotes,
  printResult,
  toOutputOptions,
} from './terminal/output';
import { widthOfTerminal } from './words/wrap';

/**
 * Runs one command line and prints everything. The caller sets the exit code.
 *
 * @param argv the arguments, without the program's name
 */
export async function run(root: Command, argv: readonly string[]): Promise<ExitCode> {
  if (argv[0] === 'complete' && argv[1] === '--') {
    // A shell calls this at each press of Tab. The rest of the line may be incomplete.
    const { completionsOf } = await import('./commands/complete');
    printLines(process.stdout, await completionsOf(root, argv.slice(2)));
    return EXIT.ok;
  }
  const options = toOutputOptions(argv);
  if (!options.quiet) printNotes(await environmentNotes(process.env), options);
  let found: Found = { path: 'amesh', command: root, rawArgs: [] };
  try {
    found = await findCommand(root, argv);
    const { path, command, rawArgs } = found;
    const flags = rawArgs.slice(0, rawArgs.includes('--') ? rawArgs.indexOf('--') : undefined);
    const { args } = command;
    if (asksFor(flags, 'help', args as ArgsDef)) {
      const help = await helpText(path, command, widthOfTerminal());
      printResult({ json: { usage: usageLine(path, command), help: help.join('\n') }, data: help }, options);
      return EXIT.ok;
    }
    if (asksFor(flags, 'version', args as ArgsDef)) {
      printResult({ json: { version }, data: [version] }, options);
      return EXIT.ok;
    }
    checkArguments(rawArgs, args as ArgsDef, path);
    if (command === root && !options.json) {
      printLines(process.stderr, await helpText(path, command, widthOfTerminal()));
      return EXIT.usage;
    }
    if (command.run === undefined) {
      throw new UsageError('Which command?', { hint: `See: ${path} --help` });
    }
    const { enterFolder } = await import('./machine/enter-folder'); // loaded only now, since help and version do not need the SDK
    const notes = await enterFolder(path);
    if (!options.quiet) printNotes(notes, options);
    // The command was found already: otherwise citty would take its first argument for the name of another command.
    const { subCommands: _, ...alone } = command;
    const { result } = await runCommand(alone, { rawArgs, data: options });
    await printAll(result as Result, options);
    return (result as Result).exitCode ?? EXIT.ok;
  } catch (error) {
    const failure = await toFailure(error, found, usageHint(found.path, found.command));
    printFailure(failure, options);
    return failure.exitCode;
  }
}
