import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';
import type { Device } from '../../trust/device';
import { PagedList } from '../../trust/format/paged-list';
import { findGrant, isDue, renewLeases } from '../../trust/grants';

/** How long to collect renewals, so that many callers cause one write. */
const GATHER_MS = 100;
/** The pause after a failed write. Half of the lease is still left then. */
const RETRY_MS = 5_000;

/**
 * Until when a lease is not due, Unix seconds. A list returns the same object until the entry changes, so each entry is parsed
 * once.
 */
const notDueBefore = new WeakMap<TrustedDevice, number>();

/**
 * Whether the lease of a device is due for renewal.
 *
 * @param list the list that accepted the device
 */
export function isLeaseDue(device: TrustedDevice, list: AllowList): boolean {
  const nowSeconds = Math.floor(Date.now() / 1000);
  if (device.expiresAt === undefined || nowSeconds < (notDueBefore.get(device) ?? 0)) return false;
  if (!(list instanceof PagedList)) return false;
  const lease = list.entry(device.deviceId)?.lease;
  const grant = lease && findGrant(list.head, lease.grant);
  if (lease === undefined) notDueBefore.set(device, Number.POSITIVE_INFINITY);
  if (lease === undefined || grant === undefined) return false;
  notDueBefore.set(device, lease.expiresAt - grant.leaseSeconds / 2);
  return isDue(lease, grant.leaseSeconds, nowSeconds);
}

/** Renews the leases of active callers, after their requests. */
export class Leases {
  readonly #device: () => Promise<Device>;
  readonly #used = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(device: () => Promise<Device>) {
    this.#device = device;
  }

  /**
   * Records that a device made a verified request.
   *
   * @param list the list that accepted the device
   */
  note(device: TrustedDevice, list: AllowList): void {
    if (this.#used.has(device.deviceId) || !isLeaseDue(device, list)) return;
    this.#used.add(device.deviceId);
    this.#renewIn(GATHER_MS);
  }

  #renewIn(ms: number): void {
    this.#timer ??= setTimeout(() => void this.#renew(), ms).unref();
  }

  async #renew(): Promise<void> {
    const ids = new Set(this.#used);
    try {
      const { trust } = await this.#device();
      await trust.update((draft) => renewLeases(draft, ids, Math.floor(Date.now() / 1000)));
      this.#timer = undefined;
    } catch {
      this.#timer = undefined;
      this.#renewIn(RETRY_MS);
      return;
    }
    // Until the list in memory is new, the old lease would still be due.
    setTimeout(() => {
      for (const id of ids) this.#used.delete(id);
    }, RETRY_MS).unref();
    if (this.#used.size > ids.size) this.#renewIn(GATHER_MS);
  }
}
