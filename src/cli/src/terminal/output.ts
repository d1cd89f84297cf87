import { isUtf8 } from 'node:buffer';
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

/** The same for a result that may have a stream. */
export async function printAll(result: Result, options: OutputOptions): Promise<void> {
  const { stream, first = [], data = [], notes = [], ...rest } = result;
  if (options.json) {
    const body = stream === undefined ? {} : await bodyOf(stream);
    return printResult({ ...rest, json: { ...rest.json, ...body } }, options);
  }
  printNotes(first, options);
  if (stream === undefined) return printResult(result, options);
  printLines(process.stdout, data);
  for await (const chunk of stream) if (!process.stdout.write(chunk)) await drained(process.stdout);
  if (!options.quiet) printNotes(notes, options);
}

/** Waits until a stream accepts more, or never will: `amesh curl URL | head -1`. */
function drained(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    const events = ['drain', 'error', 'close'];
    const done = () => {
      for (const event of events) stream.off(event, done);
      resolve();
    };
    for (const event of events) stream.on(event, done);
  });
}

async function bodyOf(stream: AsyncIterable<Uint8Array>): Promise<object> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  return isUtf8(bytes) ? { body: bytes.toString() } : { bodyBase64: bytes.toString('base64') };
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
