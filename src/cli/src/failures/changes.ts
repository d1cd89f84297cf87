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
    if (hasChanged && typeof error === 'object' && error !== null) late.add(error);
    throw error;
  }
}

/** Whether a command had changed something before this error. */
export function isLate(error: unknown): boolean {
  return typeof error === 'object' && error !== null && late.has(error);
}
