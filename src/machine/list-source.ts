import type { AllowListSource } from '../core/devices/allow-list';
import { trustStamp } from '../trust/device';
import type { ListStore } from '../trust/list/list-store';
import { LiveList } from '../trust/list/live-list';
import { readCurrent, toLoader } from '../trust/list/load-shared';
import { SharedList } from '../trust/list/shared-list';
import type { Sharing } from './options';
import type { Place } from './place';

/** How often to try `watch` again until there is an identity: an instance may start before `amesh init` runs. */
const WATCH_AGAIN_MS = 1000;

/**
 * The allow list of an instance, in memory. It is read again when it changes.
 *
 * @param trust opens the store of the list
 */
export function listSource(
  { store, shared }: Place,
  sharing: Sharing,
  trust: () => Promise<ListStore>,
): AllowListSource {
  if (shared === null) {
    return new LiveList(
      () => readCurrent(trust),
      () => trustStamp(store),
    );
  }
  const watch = (changed: () => void): void => {
    trust().then(
      (opened) => opened.watch(changed),
      () => void setTimeout(watch, WATCH_AGAIN_MS, changed).unref(), // a read reports the reason
    );
  };
  return new SharedList({ ...sharing, load: toLoader(trust), watch });
}
