import { styleText } from 'node:util';
import type { Result } from '../command-line/command';
import { UNCHANGED } from '../errors/errors';
import type { Failure } from '../failures/failure';
import { printable, printableJson, withoutSecrets } from '../words/printable';

/** The output format that the user chose. */
export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly color: boolean;
}

/** Reads the shared flags before anything else, so that even a usage error has the right format. */
export function toOutputOptions(argv: readonly string[]): OutputOptions {
  const end = argv.indexOf('--');
  const flags = new Set(end === -1 ? argv : argv.slice(0, end));
  const { NO_COLOR, TERM } = process.env;
  return {
    json: flags.has('--json') || flags.has('--json-lines'),
    quiet: flags.has('--quiet'),
    color: process.stderr.isTTY === true && !NO_COLOR && TERM !== 'dumb' && !flags.has('--no-color'),
  };
}

/** Data goes to stdout, notes to stderr. In JSON everything is data. */
export function printResult(result: Result, options: OutputOptions): void {
  if (options.json) {
    for (const object of result.before ?? []) printObject(object);
    printObject({ ok: true, ...result.json });
    return;
  }
  if (result.text !== undefined) process.stdout.write(result.text);
  printLines(process.stdout, result.data ?? []);
  if (!options.quiet) printNotes(result.notes ?? [], options);
}

export function printFailure(failure: Failure, options: OutputOptions): void {
  const { code, usage, sayUnchanged } = failure;
  const [message, hint] = [withoutSecrets(failure.message), withoutSecrets(failure.hint)];
  const usageText = usage === undefined ? '' : `Usage: ${usage}`;
  if (options.json) {
    const both = [hint, usageText].filter((text) => text !== '').join(' ');
    printObject({ ok: false, error: { code, message, hint: both } });
    return;
  }
  const more = [hint, usageText, sayUnchanged ? UNCHANGED : ''].filter((text) => text !== '');
  printNotes([`✗ ${message}`, ...more.map((text) => `  ${text}`)], options);
}

export function printLines(stream: NodeJS.WritableStream, lines: readonly string[]): void {
  if (lines.length > 0) stream.write(`${lines.map(printable).join('\n')}\n`);
}

const MARKS = { '✓': 'green', '✗': 'red', '!': 'yellow' } as const;

/** Prints notes for the user to stderr, in every mode. */
export function printNotes(notes: readonly string[], { color }: OutputOptions): void {
  const lines = notes.map((note) => {
    const text = printable(withoutSecrets(note));
    const mark = note[0] as keyof typeof MARKS;
    if (!color || !(mark in MARKS)) return text;
    // stderr was already checked for colours.
    return styleText(MARKS[mark], mark, { validateStream: false }) + text.slice(1);
  });
  if (lines.length > 0) process.stderr.write(`${lines.join('\n')}\n`);
}

/** Prints one of several objects of `--json`, each on its own line. */
export function printEvent(event: Readonly<Record<string, unknown>>): void {
  printObject(event);
}

function printObject(value: object): void {
  process.stdout.write(`${printableJson(value)}\n`);
}
