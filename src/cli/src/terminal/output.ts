import { styleText } from 'node:util';
import type { Result } from '../command-line/command';
import { UNCHANGED } from '../errors/errors';
import type { Failure } from '../failures/failure';
import { printable, printableJson } from '../words/printable';

/** How the user wants to be told. */
export interface OutputOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly color: boolean;
}

/** The shared flags, read before anything else so that even a usage error is told the right way. */
export function toOutputOptions(argv: readonly string[]): OutputOptions {
  const end = argv.indexOf('--');
  const flags = new Set(end === -1 ? argv : argv.slice(0, end));
  const { NO_COLOR, TERM } = process.env;
  return {
    json: flags.has('--json'),
    quiet: flags.has('--quiet'),
    color: process.stderr.isTTY === true && !NO_COLOR && TERM !== 'dumb' && !flags.has('--no-color'),
  };
}

/** Data goes to stdout, what happened to stderr; in JSON everything is data. */
export function printResult(result: Result, options: OutputOptions): void {
  if (options.json) {
    printObject({ ok: true, ...result.json });
    return;
  }
  printLines(process.stdout, result.data ?? []);
  if (!options.quiet) printNotes(result.notes ?? [], options);
}

export function printFailure(failure: Failure, options: OutputOptions): void {
  const { code, message, hint, usage, sayUnchanged } = failure;
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

/** What a person should know, to stderr in every mode, line by line. */
export function printNotes(notes: readonly string[], { color }: OutputOptions): void {
  const lines = notes.map((note) => {
    const text = printable(note);
    const mark = note[0] as keyof typeof MARKS;
    if (!color || !(mark in MARKS)) return text;
    // The stream has been looked at already, and it is stderr.
    return styleText(MARKS[mark], mark, { validateStream: false }) + text.slice(1);
  });
  if (lines.length > 0) process.stderr.write(`${lines.join('\n')}\n`);
}

/** One of several objects that `--json` prints, each on a line. */
export function printEvent(event: Readonly<Record<string, unknown>>): void {
  printObject(event);
}

function printObject(value: object): void {
  process.stdout.write(`${printableJson(value)}\n`);
}
