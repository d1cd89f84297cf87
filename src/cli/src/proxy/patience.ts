import type { ClientRequest, IncomingMessage } from 'node:http';

/** A request that waits for its answer, or whose answer is under way. */
export interface Waiting {
  readonly sent: ClientRequest;
  readonly response?: IncomingMessage | undefined;
  /** What was seen of it the last time. */
  sight?: Sight;
  /** Its place among those that wait. */
  index?: number | undefined;
  /** Called once nothing has happened for too long. */
  giveUp(): void;
}

type Stage = 'sending' | 'sent' | 'answered';

interface Sight {
  readonly sinceMs: number;
  readonly stage: Stage;
  readonly bytes: number;
}

/** An answer that says nothing for so long is given up. */
const IDLE_MS = 900_000;

/**
 * Gives up requests on which nothing happens. One timer looks at all of them: to set several for each request costs more than
 * to send it. So it comes late by a tenth of the time, or a second at most.
 */
export class Patience {
  readonly #timeoutMs: number;
  /** No Set: what is left of its smaller tables would keep requests alive that are over, and the garbage collector busy. */
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param timeoutMs how long a connection may take, the body may stand still, and the head of an answer may be awaited after it */
  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  begin(waiting: Waiting): void {
    waiting.index = this.#waiting.push(waiting) - 1;
    this.#timer ??= setInterval(
      () => this.look(performance.now()),
      Math.min(1000, this.#timeoutMs / 10),
    ).unref();
  }

  end(waiting: Waiting): void {
    const { index } = waiting;
    if (index === undefined) return;
    waiting.index = undefined;
    const last = this.#waiting.pop() as Waiting;
    if (last === waiting) return;
    this.#waiting[index] = last;
    last.index = index;
  }

  /** Gives up what has waited for too long. The timer calls this. */
  look(nowMs: number): void {
    if (this.#waiting.length === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const waiting of [...this.#waiting]) {
      if (waiting.index === undefined) continue; // one that was given up just now has ended it
      const stage = stageOf(waiting);
      const { socket } = waiting.sent;
      // While the head of an answer is awaited, nothing else counts.
      const bytes = socket === null || stage === 'sent' ? 0 : socket.bytesRead + socket.bytesWritten;
      const { sight } = waiting;
      if (sight === undefined || stage !== sight.stage || bytes !== sight.bytes)
        waiting.sight = { sinceMs: nowMs, stage, bytes };
      else if (nowMs - sight.sinceMs >= (stage === 'answered' ? IDLE_MS : this.#timeoutMs)) {
        this.end(waiting);
        waiting.giveUp();
      }
    }
  }
}

function stageOf({ sent, response }: Waiting): Stage {
  if (response !== undefined) return 'answered';
  return sent.writableFinished ? 'sent' : 'sending';
}
