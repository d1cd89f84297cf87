import type { ClientRequest, IncomingMessage } from 'node:http';

/** A request that waits for its response, or whose response is arriving. */
export interface Waiting {
  readonly sent: ClientRequest;
  readonly response?: IncomingMessage | undefined;
  /** What was seen of it at the last check. */
  sight?: Sight;
  /** Its place among the requests that wait. */
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

/** A response that brings no bytes for this long is given up. */
const IDLE_MS = 900_000;

/**
 * Gives up requests on which nothing happens. One timer checks all of them: several timers for each request would cost more than
 * sending it. So it is late by a tenth of the time, but at most by a second.
 */
export class Patience {
  readonly #timeoutMs: number;
  /** Not a Set: its old tables would keep ended requests alive, and the garbage collector busy. */
  readonly #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param timeoutMs how long a connection may take; how long the body may stand still; and how long the head of the response may
   * then take
   */
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

  /** Gives up requests that have waited for too long. The timer calls this. */
  look(nowMs: number): void {
    if (this.#waiting.length === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
    for (const waiting of [...this.#waiting]) {
      if (waiting.index === undefined) continue; // giving up another request has ended this one
      const stage = stageOf(waiting);
      const { socket } = waiting.sent;
      // While the request waits for the head of its response, only the time counts.
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
