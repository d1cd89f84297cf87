/** Whether a value is a promise of any class: promises of libraries and of other realms are not instances of `Promise`. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
}

/**
 * Chains without a promise where there is none: most requests need no extra turn of the event loop.
 *
 * @param value may be a promise of any class, since it may come from other people's code
 */
export function andThen<T, U>(
  value: T | PromiseLike<T>,
  next: (value: T) => U | Promise<U>,
  failed?: (error: unknown) => never,
): U | Promise<U> {
  return isThenable(value) ? Promise.resolve(value).then(next, failed) : next(value as T);
}
