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
    run(waiting)
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}
