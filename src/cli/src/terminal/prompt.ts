import type { Interface } from 'node:readline/promises';
import { DeclinedError, InterruptedError, UsageError } from '../errors/errors';
import { printable } from '../words/printable';
import { dropTypedAhead } from './typed-ahead';

/** The longest text that stdin is read for: a line of `amesh trust export` has some 120 bytes. */
const MAX_STDIN_BYTES = 65_536;

/**
 * Asks on the terminal. The default answer is no.
 *
 * @param yes where the user has said so beforehand
 * @throws DeclinedError, InterruptedError; UsageError where there is no terminal to ask on
 */
export async function confirm(text: string, yes: boolean | undefined): Promise<void> {
  if (yes) return;
  if (!isAttended()) {
    throw new UsageError('This asks before it does anything, and there is no terminal to ask on.', {
      hint: 'Answer beforehand, with --yes.',
    });
  }
  if (!(await askYesNo(text))) throw new DeclinedError();
}

let question: Interface | undefined;

/** Writes lines above the question that is being asked, if one is; what was typed so far stays. */
export function aboveQuestion(write: () => void): void {
  if (question !== undefined) process.stderr.write('\r\u001b[K');
  write();
  question?.prompt(true);
}

/** Whether somebody sits at a terminal, and can see what is asked. */
export function isAttended(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

/**
 * Asks on the terminal that is there. The default answer is no.
 *
 * @param signal takes the question back
 * @throws InterruptedError; what the signal says
 */
export async function askYesNo(text: string, signal?: AbortSignal): Promise<boolean> {
  const answer = await ask(`? ${printable(text)} [y/N] `, signal);
  return /^y(?:es)?$/i.test(answer.trim());
}

/**
 * One line from a terminal, or everything that comes through a pipe.
 *
 * @param text asked on a terminal only
 * @throws UsageError for more than 64 KiB
 */
export async function readText(text: string): Promise<string> {
  if (process.stdin.isTTY) return ask(`? ${text} `);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of process.stdin) {
    length += chunk.length;
    if (length > MAX_STDIN_BYTES) throw new UsageError('There is more on stdin than one line.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * One line from the terminal; empty at Ctrl+D. What was typed before the question is shown does not count.
 *
 * @param signal takes the question back
 * @throws InterruptedError; what the signal says
 */
export async function ask(text: string, signal?: AbortSignal): Promise<string> {
  const { createInterface } = await import('node:readline/promises');
  if (process.stdin.isTTY) await dropTypedAhead();
  if (process.stdin.readableEnded) return '';
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
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
