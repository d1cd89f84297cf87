/** Errors of commands that had changed something before. */
const late = new WeakSet<object>();

/**
 * Runs a command of several steps. If one of them fails after another was done, nothing may say that no changes were made.
 *
 * @param run calls `onChange` before each step that changes something
 */
export async function inSteps<T>(run: (onChange: () => void) => Promise<T>): Promise<T> {
  let hasChanged = false;
  try {
    return await run(() => {
      hasChanged = true;
    });
  } catch (error) {
    throw hasChanged ? asLate(error) : error;
  }
}

/** What a command looks up once it has changed something, for what it prints. */
export async function afterwards<T>(looking: Promise<T>): Promise<T> {
  try {
    return await looking;
  } catch (error) {
    throw asLate(error);
  }
}

/** Notes that a command had changed something before this error, and returns the error. */
export function asLate(error: unknown): unknown {
  if (typeof error === 'object' && error !== null) late.add(error);
  return error;
}

/** Whether a command had changed something before this error. */
export function isLate(error: unknown): boolean {
  return typeof error === 'object' && error !== null && late.has(error);
}
