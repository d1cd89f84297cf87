import { type OutputOptions, printEvent, printLines, printNotes } from './output';
import { aboveQuestion } from './prompt';

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 100;

/** Reports the progress of a slow command, in the chosen output format. */
export class Teller {
  readonly #options: OutputOptions;
  #stopLine: () => void = () => {};

  constructor(options: OutputOptions) {
    this.#options = options;
  }

  /** Reports an event: one object in JSON, notes otherwise. */
  event(json: Readonly<Record<string, unknown>>, notes: readonly string[] = []): void {
    this.stop();
    if (this.#options.json) printEvent(json);
    else if (!this.#options.quiet) aboveQuestion(() => printNotes(notes, this.#options));
  }

  /** Prints data for the other machine on stdout, if stdout is not a terminal, or if nothing else is printed. */
  data(line: string): void {
    if (!this.#options.json && (this.#options.quiet || process.stdout.isTTY !== true))
      printLines(process.stdout, [line]);
  }

  /** Shows an animated last line, on a terminal only. */
  wait(text: () => string): void {
    this.stop();
    const { json, quiet } = this.#options;
    if (json || quiet || process.stderr.isTTY !== true || process.env.TERM === 'dumb') return;
    let turn = 0;
    const draw = () => {
      const line = `  ${SPINNER[turn++ % SPINNER.length]} ${text()}`;
      const room = (process.stderr.columns || 80) - 1;
      process.stderr.write(`\r${line.length > room ? `${line.slice(0, room - 1)}…` : line}\u001b[K`);
    };
    draw();
    const timer = setInterval(draw, FRAME_MS);
    this.#stopLine = () => {
      clearInterval(timer);
      process.stderr.write('\r\u001b[K');
    };
  }

  /** Removes the animated line. */
  stop(): void {
    this.#stopLine();
    this.#stopLine = () => {};
  }
}
