import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { type Patience, waitFor } from '../slow/patience';

/** The longest message that is signed, in bytes. The helper takes lines of 6 MiB. */
export const MAX_MESSAGE = 4 * 1024 * 1024;
/** A data representation has about 300 bytes. */
const MAX_ANSWER = 8_192;
const ANSWER = /^(ok|error)((?: [A-Za-z0-9+/=-]+)+)$/;

/** The error if the helper has answered `error` and a word. */
export class HelperRefusal extends Error {
  /** @param word a word of the protocol, or any other */
  constructor(readonly word: string) {
    super(`The helper reported: error ${word}.`);
  }
}

/** The error if the helper has not answered in time. */
export class SilentHelperError extends Error {}

/** The error if the helper has ended without an answer, or did not start. */
export class EndedHelperError extends Error {}

/**
 * A running helper: one question at a time, one line each. Its protocol is described in helper.swift. It gets no arguments and an empty
 * environment.
 */
export class Helper {
  readonly #child: ChildProcessWithoutNullStreams;
  #received = '';
  #waiting: { resolve(answer: string): void; reject(error: Error): void } | null = null;
  #failure: Error | null = null;

  /** @param path the compiled helper */
  constructor(path: string) {
    this.#child = spawn(path, [], { env: {}, cwd: '/' });
    this.#child.on('error', (cause) => this.#fail(new EndedHelperError('It does not start.', { cause })));
    this.#child.on('close', (code, signal) =>
      this.#fail(new EndedHelperError(`It ended with ${signal ?? code}.`)),
    );
    this.#child.stdin.on('error', () => {}); // the helper has ended, which `close` reports
    this.#child.stderr.resume();
    this.#child.stdout.setEncoding('latin1').on('data', (chunk: string) => this.#take(chunk));
  }

  /**
   * @param words of the request
   * @param sizes the sizes of the values in the answer, in bytes; null for any size
   * @throws HelperRefusal, SilentHelperError, EndedHelperError; RangeError for anything that is not one answer
   */
  async ask(
    words: readonly [string, Uint8Array?],
    sizes: readonly (number | null)[],
    patience: Patience,
  ): Promise<Uint8Array[]> {
    const [name, value] = words;
    const line = value === undefined ? name : `${name} ${Buffer.from(value).toString('base64')}`;
    const answer = new Promise<string>((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure);
      this.#waiting = { resolve, reject };
      this.#child.stdin.write(`${line}\n`);
    });
    const values = valuesOf(await waitFor(patience, answer, () => new SilentHelperError()));
    if (values.length !== sizes.length) throw new RangeError(`${values.length} values`);
    for (const [index, size] of sizes.entries())
      if (size !== null && values[index]?.length !== size)
        throw new RangeError(`a value of ${values[index]?.length} bytes`);
    return values;
  }

  /** Ends the helper. It has nothing to finish: it has answered, or nobody waits for its answer any more. */
  close(): void {
    this.#child.kill('SIGKILL');
  }

  #take(chunk: string): void {
    this.#received += chunk;
    const end = this.#received.indexOf('\n');
    if (this.#waiting === null) this.#fail(new RangeError('a response to no request'));
    else if (this.#received.length > MAX_ANSWER) this.#fail(new RangeError('too long a response'));
    else if (end !== -1 && end < this.#received.length - 1)
      this.#fail(new RangeError('more than one response'));
    else if (end !== -1) {
      this.#waiting.resolve(this.#received.slice(0, end));
      this.#waiting = null;
      this.#received = '';
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.close();
    this.#waiting?.reject(this.#failure);
    this.#waiting = null;
  }
}

function valuesOf(line: string): Uint8Array[] {
  const [, kind, rest = ''] = ANSWER.exec(line) ?? [];
  if (kind === undefined) throw new RangeError('an invalid response');
  const words = rest.slice(1).split(' ');
  if (kind === 'error') throw new HelperRefusal(words.join(' '));
  return words.map((word) => {
    const bytes = Buffer.from(word, 'base64');
    if (bytes.toString('base64') !== word) throw new RangeError('something other than Base64');
    return new Uint8Array(bytes);
  });
}
