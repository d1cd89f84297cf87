import type { Interface } from 'node:readline/promises';
import { DeclinedError, InterruptedError, UsageError } from '../errors/errors';
import { printable } from '../words/printable';
import { dropTypedAhead } from './typed-ahead';

/** The most to read from stdin: a line of `amesh trust export` has about 120 bytes. */
const MAX_STDIN_BYTES = 65_536;

/**
 * Asks for confirmation on the terminal. The default answer is no.
 *
 * @param yes whether the user gave --yes
 * @throws DeclinedError, InterruptedError; UsageError without a terminal
 */
export async function confirm(text: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  if (!isAttended()) {
    throw new UsageError('This command asks for confirmation, but there is no terminal.', {
      hint: 'Use --yes.',
    });
  }
  if (!(await askYesNo(text))) throw new DeclinedError();
}

let question: Interface | undefined;

/** Writes lines above the current question, if any, and keeps the input so far. */
export function aboveQuestion(write: () => void): void {
  if (question !== undefined) process.stderr.write('\r\u001b[K');
  write();
  question?.prompt(true);
}

/** Whether a person at a terminal can see and answer questions. */
export function isAttended(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/**
 * Asks a yes/no question on the terminal. The default answer is no.
 *
 * @param signal cancels the question
 * @throws InterruptedError; the signal's reason
 */
export async function askYesNo(text: string, signal?: AbortSignal): Promise<boolean> {
  const answer = await ask(`? ${printable(text)} [y/N] `, signal);
  return /^y(?:es)?$/i.test(answer.trim());
}

/**
 * Reads one line from a terminal, or everything from a pipe.
 *
 * @param text the question, shown on a terminal only
 * @throws UsageError for more than 64 KiB
 */
export async function readText(text: string): Promise<string> {
  if (process.stdin.isTTY) return ask(`? ${text} `);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin) {
    length += chunk.length;
    if (length > MAX_STDIN_BYTES) throw new UsageError('stdin contains more than one line.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * Reads one line from the terminal; empty after Ctrl+D. Input typed before the question appears is discarded.
 *
 * @param signal cancels the question
 * @param output where the question and the typed text appear
 * @throws InterruptedError; the signal's reason
 */
export async function ask(
  text: string,
  signal?: AbortSignal,
  output: NodeJS.WritableStream = process.stderr,
): Promise<string> {
  const { createInterface } = await import('node:readline/promises');
  if (process.stdin.isTTY) await dropTypedAhead();
  if (process.stdin.readableEnded) return '';
  const terminal = createInterface({ input: process.stdin, output, terminal: process.stdin.isTTY });
  question = terminal;
  try {
    return await new Promise((resolve, reject) => {
      terminal.once('SIGINT', () => {
        process.stderr.write('\n');
        reject(new InterruptedError());
      });
      terminal.once('close', () => {
        if (question !== terminal) return; // closed below
        process.stderr.write('\n');
        resolve(''); // Ctrl+D
      });
      const onAbort = () => {
        process.stderr.write('\n');
        reject(signal?.reason);
      };
      if (signal?.aborted) return onAbort();
      signal?.addEventListener('abort', onAbort, { once: true });
      terminal
        .question(text)
        .then(resolve, reject)
        .finally(() => signal?.removeEventListener('abort', onAbort));
    });
  } finally {
    question = undefined;
    terminal.close();
  }
}

/**
 * Asks for a new secret on the terminal, twice, without showing it.
 *
 * @param what the kind of secret, such as `passphrase`
 * @throws UsageError without a terminal, for an empty secret, or if the two differ; InterruptedError
 */
export async function askNewSecret(what: string): Promise<string> {
  if (!isAttended())
    throw new UsageError(`There is no terminal to ask for the ${what}.`, {
      hint: 'Set AMESH_PASSPHRASE_FILE instead.',
    });
  const first = await askHidden(`New ${what}: `);
  if (first.trim() === '') throw new UsageError(`The ${what} is empty.`);
  if ((await askHidden('Again: ')) !== first) throw new UsageError('The two differ.');
  return first;
}

async function askHidden(text: string): Promise<string> {
  const { Writable } = await import('node:stream');
  let isAsked = false;
  const output = new Writable({
    write(chunk, _encoding, done) {
      if (!isAsked) process.stderr.write(chunk); // shows the question, and nothing that is typed
      isAsked ||= String(chunk).includes(text);
      done();
    },
  });
  try {
    return await ask(`? ${text}`, undefined, output);
  } finally {
    process.stderr.write('\n');
  }
}
