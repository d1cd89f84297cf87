import { afterEach, beforeEach, type MockInstance, vi } from 'vitest';
import { createEnrolling, type Enrolling } from './enrolling';

export interface EnrollingInUse extends Omit<Enrolling, 'remove'> {
  /** What this process has logged, which is not shown. */
  readonly logged: MockInstance<typeof console.warn>;
}

/** Targets that enrol, and callers, anew for each test of a file. */
export function useEnrolling(): EnrollingInUse {
  let enrolling: Enrolling;
  let logged: EnrollingInUse['logged'];
  beforeEach(async () => {
    logged = vi.spyOn(console, 'warn').mockImplementation(() => {});
    enrolling = await createEnrolling();
  });
  afterEach(async () => {
    await enrolling.remove();
    logged.mockRestore();
  });
  return {
    get root() {
      return enrolling.root;
    },
    target: (...options) => enrolling.target(...options),
    caller: (...options) => enrolling.caller(...options),
    get logged() {
      return logged;
    },
  };
}
