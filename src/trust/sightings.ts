import type { AllowListSource } from '../core/devices/allow-list';
import type { TrustStore } from './list/trust-store';

/** From the first request to the first write: a person who tries it out looks soon. */
const FIRST_MS = 1000;

/** The least time between two writes, and what each device of the record adds to it: 100,000 are 11 minutes. */
const REST_MS = { usual: 60_000, device: 6 };

/** Notes which devices were let in, and writes it down behind the requests. */
export class Sightings {
  readonly #trust: () => Promise<TrustStore>;
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
    readonly trust: () => Promise<TrustStore>;
    readonly list: AllowListSource;
    readonly restMs?: number;
  }) {
    this.#trust = trust;
    this.#list = list;
    this.#restMs = restMs;
  }

  /** A device has made a verified request. */
  note(deviceId: string): void {
    this.#times.set(deviceId, Math.floor(Date.now() / 1000));
    this.#writeLater();
  }

  /** A process that ends before is not kept alive for it. */
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
      devices = await lastSeen.add(times, (id) => list.find(id) !== undefined);
    } catch {
      // A read-only folder is a fair way to run a server, and a store may come back.
      this.#times = new Map([...times, ...this.#times]);
    }
    this.#notBefore = performance.now() + this.#restMs + devices * REST_MS.device;
    this.#timer = undefined;
    if (this.#times.size > 0) this.#writeLater();
  }
}
