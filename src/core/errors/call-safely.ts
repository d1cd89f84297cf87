import { isThenable } from '../and-then';

/**
 * Calls a user's callback. An error that it throws, or rejects with, goes to the console and stops nothing.
 *
 * @param name the name of the option with the callback
 */
export function callSafely(call: () => unknown, name = 'onRefusal'): void {
  const tell = (error: unknown) => console.error(`amesh: ${name} threw`, error);
  try {
    const result = call();
    if (isThenable(result)) result.then(undefined, tell);
  } catch (error) {
    tell(error);
  }
}
