import { createInterface } from 'node:readline';
import { CommandError } from '../errors/errors';

/** Lines that come through stdin where nobody sees a question, one by one. */
export class TypedLines {
  readonly #lines: string[] = [];
  readonly #reader = createInterface({ input: process.stdin });
  #isOver = false;
  #wake = () => {};

  constructor() {
    this.#reader.on('line', (line) => {
      if (this.#lines.length < 16) this.#lines.push(line.slice(0, 256)); // more than all tries are
      this.#wake();
    });
    this.#reader.on('close', () => {
      this.#isOver = true;
      this.#wake();
    });
  }

  /**
   * Throws away what was typed so far, where a terminal is what they come from. A script may write its lines beforehand.
   */
  forgetTyped(): void {
    if (process.stdin.isTTY) this.#lines.length = 0;
  }

  /** @throws CommandError where there is none any more; the signal's reason */
  async next(signal: AbortSignal): Promise<string> {
    for (;;) {
      signal.throwIfAborted();
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      if (this.#isOver) {
        throw new CommandError(
          'no_code_typed',
          'stdin ended before the code of the other screen came.',
          'Write it to stdin, one try a line, once the other machine shows it.',
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
