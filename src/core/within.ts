/** The state of somebody who waits for work, as the work sees it. */
export interface Waiting {
  isOver: boolean;
  /** Called when they have waited long enough. */
  whenOver: (() => void) | undefined;
}

/** In how many parts a deadline waits: after each part, the event loop reads what has arrived. */
const PARTS = 5;

/**
 * Calls `over` after that time, plus the time for which this process was too busy to read an answer: such a pause must not look
 * like the silence of somebody else. With a single timer, it would run before the process reads what has arrived in the meantime.
 *
 * @returns a function that stops it
 */
export function startDeadline(ms: number, over: () => void): () => void {
  let left = PARTS;
  let timer: ReturnType<typeof setTimeout>;
  const wait = () => {
    timer = setTimeout(() => (--left === 0 ? over() : wait()), ms / PARTS);
  };
  wait();
  return () => clearTimeout(timer);
}

/**
 * The result of `run`, or an error if that takes too long.
 *
 * @param late makes the error
 */
export function within<T>(ms: number, run: (waiting: Waiting) => Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const waiting: Waiting = { isOver: false, whenOver: undefined };
    const stop = startDeadline(ms, () => {
      waiting.isOver = true;
      reject(late());
      waiting.whenOver?.();
    });
    const running = async () => run(waiting); // so that what it throws synchronously becomes a rejection, too
    running().then(resolve, reject).finally(stop);
  });
}

/** Resolves when the first of these has settled, or when that time is over. */
export async function waitAtMost(ms: number, ...works: readonly Promise<void>[]): Promise<void> {
  let stop: (() => void) | undefined;
  const over = new Promise<void>((resolve) => {
    stop = startDeadline(ms, resolve);
  });
  try {
    await Promise.race([...works, over]);
  } finally {
    stop?.();
  }
}

/**
 * Waits until the event loop has made a turn. Not by a timer where there is another way: after a long step, a timer is due before
 * anything else has run.
 */
export function nextTurn(): Promise<undefined> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve, undefined);
    else setTimeout(resolve); // on Workers
  });
}
