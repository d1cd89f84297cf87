import { onTestFinished, vi } from 'vitest';
import { ListStore } from '../../src/trust/list/list-store';

/**
 * An instance whose list is in a store reads it each second and after each change, as long as its process lives. Where a test makes
 * one after another in its own process, they would all go on.
 *
 * @returns ends what instances do by themselves that were made since the last call. Their next request would still be answered
 */
export function useEndingInstances(): () => void {
  const timers = new Set<NodeJS.Timeout>();
  let now = { isOver: false };
  const { setInterval } = globalThis;
  const repeat = (callback: () => void, ms?: number) => {
    const timer = setInterval(callback, ms);
    if (ms === POLL_MS) timers.add(timer);
    return timer;
  };
  const intervals = vi.spyOn(globalThis, 'setInterval').mockImplementation(repeat as typeof setInterval);
  const { watch } = ListStore.prototype;
  const watches = vi.spyOn(ListStore.prototype, 'watch').mockImplementation(function (
    this: ListStore,
    changed,
  ) {
    const own = now;
    watch.call(this, () => own.isOver || changed());
  });
  const end = () => {
    now.isOver = true;
    now = { isOver: false };
    for (const timer of timers) clearInterval(timer);
    timers.clear();
  };
  onTestFinished(() => {
    end();
    intervals.mockRestore();
    watches.mockRestore();
  });
  return end;
}

/** As often an instance reads its list unless it is told otherwise. */
const POLL_MS = 1000;
