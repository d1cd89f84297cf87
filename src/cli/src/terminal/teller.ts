import { type OutputOptions, printEvent, printLines, printNotes } from './output';
import { aboveQuestion } from './prompt';

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const FRAME_MS = 100;

/** Reports the progress of a command that takes time, in the form that the output can use. */
export class Teller {
  readonly #options: OutputOptions;
  #stopLine: () => void = () => {};

  constructor(options: OutputOptions) {
    this.#options = options;
  }

  /** Something that happened: an object of its own in JSON. */
  event(json: Readonly<Record<string, unknown>>, notes: readonly string[] = []): void {
    this.stop();
    if (this.#options.json) printEvent(json);
    else if (!this.#options.quiet) aboveQuestion(() => printNotes(notes, this.#options));
  }

  /** What the other machine needs: alone on stdout where that is no terminal, or where nothing else is printed. */
  data(line: string): void {
    if (!this.#options.json && (this.#options.quiet || process.stdout.isTTY !== true))
      printLines(process.stdout, [line]);
  }

  /** A last line that keeps moving, on a terminal only. */
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

  /** Takes the moving line away. */
  stop(): void {
    this.#stopLine();
    this.#stopLine = () => {};
  }
}
