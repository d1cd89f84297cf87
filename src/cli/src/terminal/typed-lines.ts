import { createInterface } from 'node:readline';
import { CommandError } from '../errors/errors';

/** Lines from stdin, one by one, if there is no terminal for questions. */
export class TypedLines {
  readonly #lines: string[] = [];
  readonly #reader = createInterface({ input: process.stdin });
  #isOver = false;
  #wake = () => {};

  constructor() {
    this.#reader.on('line', (line) => {
      if (this.#lines.length < 16) this.#lines.push(line.slice(0, 256)); // more than the number of tries
      this.#wake();
    });
    this.#reader.on('close', () => {
      this.#isOver = true;
      this.#wake();
    });
  }

  /**
   * Discards the lines typed so far on a terminal. A script may write its lines in advance.
   */
  forgetTyped(): void {
    if (process.stdin.isTTY) this.#lines.length = 0;
  }

  /** @throws CommandError at the end of stdin; the signal's reason */
  async next(signal: AbortSignal): Promise<string> {
    for (;;) {
      signal.throwIfAborted();
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      if (this.#isOver) {
        throw new CommandError(
          'no_code_typed',
          'stdin ended before the code from the other screen arrived.',
          'Write the code to stdin, one try per line, when the other machine shows it.',
        );
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
  }

  close(): void {
    this.#reader.close();
    process.stdin.destroy();
  }
}
