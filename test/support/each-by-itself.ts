/**
 * Calls a function for each value, in one turn of the event loop, as Node does for requests on several connections: before each
 * call, what the earlier ones have started runs until it waits for the event loop.
 */
export function eachByItself<T, R>(
  values: readonly T[],
  call: (value: T) => R | Promise<R>,
): Promise<Awaited<R>[]> {
  const calls = values.map(
    (value) =>
      new Promise<R>((resolve, reject) => {
        setImmediate(() => {
          try {
            resolve(call(value));
          } catch (error) {
            reject(error);
          }
        });
      }),
  );
  return Promise.all(calls);
}
