import { isAmeshError } from '../../core/errors/amesh-error';

const PAUSE_MS = Object.freeze({ first: 1000, most: 60_000 });

interface Failure {
  readonly error: unknown;
  /** By `performance.now()`. */
  readonly untilMs: number;
  readonly nextPauseMs: number;
}

/**
 * Pauses between enrolments whose answers were not proven, by host. The second attempt comes without a pause, since one answer may
 * have been damaged. Then the pause doubles from 1 s to 60 s, until the first proven answer.
 */
export class UnprovenPauses {
  readonly #failures = new Map<string, Failure>();
  readonly #tell: (line: string) => void;

  /** @param tell logs a line once */
  constructor(tell: (line: string) => void) {
    this.#tell = tell;
  }

  /** @throws what `enrol` throws; during a pause, its last error */
  async guard(host: string, enrol: () => Promise<void>): Promise<void> {
    const before = this.#failures.get(host);
    if (before !== undefined && performance.now() < before.untilMs) throw before.error;
    try {
      await enrol();
      this.#failures.delete(host);
    } catch (error) {
      if (isAmeshError(error) && error.code === 'answer_unproven') this.#note(host, error, before);
      else this.#failures.delete(host);
      throw error;
    }
  }

  #note(host: string, error: unknown, before: Failure | undefined): void {
    this.#tell(
      `A response of ${host} to the enrolment of this machine was not proven, so nothing was changed. The token is kept, and the enrolment is tried again.`,
    );
    const pauseMs = before?.nextPauseMs ?? 0;
    const nextPauseMs = Math.min(Math.max(2 * pauseMs, PAUSE_MS.first), PAUSE_MS.most);
    this.#failures.set(host, { error, untilMs: performance.now() + pauseMs, nextPauseMs });
  }
}
