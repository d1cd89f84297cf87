/** Somebody who waits, as the one who works for them sees it. */
export interface Waiting {
  isOver: boolean;
  /** Called when they have waited long enough. */
  whenOver: (() => void) | undefined;
}

/**
 * What `run` gives, or an error in its place where that takes too long.
 *
 * @param late makes the error
 */
export function within<T>(ms: number, run: (waiting: Waiting) => Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const waiting: Waiting = { isOver: false, whenOver: undefined };
    const timer = setTimeout(() => {
      waiting.isOver = true;
      reject(late());
      waiting.whenOver?.();
    }, ms);
    const running = async () => run(waiting); // so that what it throws at once is a refusal, too
    running()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}

/** Resolves when the first of these has settled, or when that time is over. */
export async function waitAtMost(ms: number, ...works: readonly Promise<void>[]): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([...works, over]);
  } finally {
    clearTimeout(timer);
  }
}
