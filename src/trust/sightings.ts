import type { AllowListSource } from '../core/devices/allow-list';
import { PagedList } from './format/paged-list';
import type { ListStore } from './list/list-store';

/** The delay of the first write: a person who tries amesh looks at the list soon. */
const FIRST_MS = 1000;

/** The least time between two writes, plus a time for each device in the record: 100,000 devices add 10 minutes. */
const REST_MS = { usual: 60_000, device: 6 };

/** Records which devices made accepted requests, and writes that in the background. */
export class Sightings {
  readonly #trust: () => Promise<ListStore>;
  readonly #list: AllowListSource;
  readonly #restMs: number;
  #times = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;

  /** @param restMs the least time between two writes */
  constructor({
    trust,
    list,
    restMs = REST_MS.usual,
  }: {
    readonly trust: () => Promise<ListStore>;
    readonly list: AllowListSource;
    readonly restMs?: number;
  }) {
    this.#trust = trust;
    this.#list = list;
    this.#restMs = restMs;
  }

  /** Records that a device made a verified request. */
  note(deviceId: string): void {
    this.#times.set(deviceId, Math.floor(Date.now() / 1000));
    this.#writeLater();
  }

  /** The timer does not keep the process alive: a process that ends before the write loses these times. */
  #writeLater(): void {
    this.#timer ??= setTimeout(
      () => void this.#write(),
      Math.max(Math.min(FIRST_MS, this.#restMs), this.#notBefore - performance.now()),
    ).unref();
  }

  async #write(): Promise<void> {
    const times = this.#times;
    this.#times = new Map();
    let devices = 0;
    try {
      const [list, { lastSeen }] = await Promise.all([this.#list.current(), this.#trust()]);
      if (list instanceof PagedList) devices = await lastSeen.add(times, list);
    } catch {
      // The times are kept for the next attempt: a store may come back. A read-only folder is no error.
      this.#times = new Map([...times, ...this.#times]);
    }
    this.#notBefore = performance.now() + this.#restMs + devices * REST_MS.device;
    this.#timer = undefined;
    if (this.#times.size > 0) this.#writeLater();
  }
}
