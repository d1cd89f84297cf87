import type { Mock } from 'vitest';

/**
 * What was logged, without the counts that a server of another file in this process adds later: "(28 more like it
 * since)".
 */
export function callsOf(log: Pick<Mock, 'mock'>): unknown[][] {
  return log.mock.calls.filter(([line]) => !/\(\d+ more like it since\)/.test(String(line)));
}
