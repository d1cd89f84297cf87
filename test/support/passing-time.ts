import { afterEach, beforeEach, vi } from 'vitest';

const systemNow = performance.now.bind(performance);

/** @returns lets time pass, in milliseconds, for the clock and for what measures how long ago something was */
export function usePassingTime(): (ms: number) => void {
  let laterMs = 0;
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date'] });
    laterMs = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => systemNow() + laterMs);
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });
  return (ms) => {
    vi.setSystemTime(Date.now() + ms);
    laterMs += ms;
  };
}
