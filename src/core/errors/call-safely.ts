/** Calls a user's callback. An error that it throws, or rejects with, goes to the console and stops nothing. */
export function callSafely(call: () => unknown): void {
  try {
    const result = call();
    if (result instanceof Promise) result.catch(tell);
  } catch (error) {
    tell(error);
  }
}

function tell(error: unknown): void {
  console.error('amesh: onRefusal threw', error);
}
