import type { MaybePromise } from './crypto/provider';

/** Goes on at once where there is nothing to wait for: most requests are verified without another turn of the event loop. */
export function andThen<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
