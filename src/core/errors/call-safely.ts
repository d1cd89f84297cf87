/** Calls what a user has given us to be told of things. Whatever it throws, or rejects with, is theirs to read. */
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
