import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';
import { PagedList } from '../../trust/format/paged-list';
import { dueWarning, endingOf } from '../../trust/rights/ends';
import { describeEnds } from './end-warning';

const EVERY_SECONDS = 3600;
const MAX_DEVICES = 10_000;

/**
 * Warns 14, 7 and 1 days before a device or its lease ends, when the device calls: for runtimes such as Workers, where nothing can
 * look through the list between requests. Each object gives each warning once.
 */
export class CallerEnds {
  readonly #tell: (line: string) => void;
  /** When the end of a device was last checked, Unix seconds; the oldest first. */
  readonly #lookedAt = new Map<string, number>();

  /** @param tell logs a line */
  constructor(tell: (line: string) => void) {
    this.#tell = tell;
  }

  /** @param device the device that has just made an accepted request */
  note(list: AllowList, { deviceId, expiresAt }: TrustedDevice, nowMs: number): void {
    if (expiresAt === undefined || !(list instanceof PagedList)) return;
    const nowSeconds = Math.floor(nowMs / 1000);
    const since = this.#lookedAt.get(deviceId);
    if (since !== undefined && Math.abs(nowSeconds - since) < EVERY_SECONDS) return;
    if (since === undefined && this.#lookedAt.size >= MAX_DEVICES)
      this.#lookedAt.delete(this.#lookedAt.keys().next().value as string);
    this.#lookedAt.set(deviceId, nowSeconds);
    const entry = list.entry(deviceId);
    const ending = entry && endingOf(entry, list.head);
    const days = ending && dueWarning(ending, nowSeconds, since);
    if (days) this.#tell(describeEnds(ending.kind, days, { count: 1, named: [ending] }));
  }
}
