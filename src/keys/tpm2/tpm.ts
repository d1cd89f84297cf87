import { within } from '../../core/within';
import { openConnection, type TpmAddress, type TpmConnection } from './connection';

/** A discrete TPM takes up to a second for a command, and waits for other programs. */
const DEADLINE_MS = 60_000;

/** The error if the TPM has not responded. It may still do what it was asked. */
export class SilentTpmError extends Error {
  constructor() {
    super(`The TPM has not responded for ${DEADLINE_MS / 1000} s.`);
    this.name = 'SilentTpmError';
  }
}

/** A TPM, which does one thing at a time. Its connection is open only while there is work. */
export class Tpm {
  static readonly #all = new Map<string, Tpm>();
  #last: Promise<unknown> = Promise.resolve();
  /** Whether work that did not end within its deadline is still not over. */
  #isStuck = false;

  private constructor(
    readonly address: TpmAddress,
    private readonly deadlineMs: number,
  ) {}

  /** Returns one object for each address, so that a process never opens a TPM twice. */
  static at(address: TpmAddress, deadlineMs = DEADLINE_MS): Tpm {
    const name = JSON.stringify([address, deadlineMs]);
    const known = Tpm.#all.get(name) ?? new Tpm(address, deadlineMs);
    Tpm.#all.set(name, known);
    return known;
  }

  /**
   * Runs work on the TPM, after earlier work has ended. The work has 60 s in all, so it may only be a few commands.
   *
   * @throws SilentTpmError; what `work` and opening the connection throw
   */
  run<T>(work: (tpm: TpmConnection) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#runNow(work));
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #runNow<T>(work: (tpm: TpmConnection) => Promise<T>): Promise<T> {
    // A thread that waits for the device cannot be stopped, and a second thread would wait behind it.
    if (this.#isStuck) throw new SilentTpmError();
    const waiting = new AbortController();
    const working = this.#connect(work, waiting.signal);
    const over = () => {
      this.#isStuck = false;
    };
    this.#isStuck = true;
    working.then(over, over);
    return within(
      this.deadlineMs,
      () => working,
      () => {
        waiting.abort();
        return new SilentTpmError();
      },
    );
  }

  async #connect<T>(work: (tpm: TpmConnection) => Promise<T>, signal: AbortSignal): Promise<T> {
    const connection = await openConnection(this.address, signal);
    try {
      return await work(connection);
    } finally {
      await connection.close().catch(() => {});
    }
  }
}
