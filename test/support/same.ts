import { isDeepStrictEqual } from 'node:util';
import { expect } from 'vitest';

/**
 * Asserts that two values are equal, as `expect(actual).toEqual(expected)` does. For loops of many thousand rounds, in which an
 * expectation costs more than what it looks at: one is made only where the values may differ.
 */
export function expectSame(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected);
}
