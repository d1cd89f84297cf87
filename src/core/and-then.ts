/** Goes on at once where there is nothing to wait for: most requests are verified without another turn of the event loop. */
export function andThen<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
