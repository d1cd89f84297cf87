import type { AllowList, AllowListSource, TrustedDevice } from '../core/devices/allow-list';

/** An allow list in memory that tests change. A change applies from the next request on. */
export class DeviceList implements AllowListSource {
  readonly #devices = new Map<string, TrustedDevice>();
  readonly #ended = new Set<string>();
  #list: AllowList | undefined;

  /**
   * @param deviceId the machine that has the list
   * @param hosts the authorities for which it accepts requests, in normal form; if there are none, every authority under which a
   *   caller names the machine
   */
  constructor(
    readonly deviceId: string,
    readonly hosts: readonly string[],
  ) {}

  current(): AllowList {
    this.#list ??= this.#snapshot();
    return this.#list;
  }

  /** The entries were checked when they were added: the keys are our own, and scopes and times were read. */
  #snapshot(): AllowList {
    const { deviceId, hosts } = this;
    const devices = new Map(this.#devices);
    const endedDelegations = new Set(this.#ended);
    return { deviceId, hosts, endedDelegations, find: (id) => devices.get(id), targetOf: () => undefined };
  }

  get(deviceId: string): TrustedDevice | undefined {
    return this.#devices.get(deviceId);
  }

  /** Adds a device, or replaces it. */
  set(device: TrustedDevice): void {
    this.#devices.set(device.deviceId, device);
    this.#list = undefined;
  }

  remove(deviceId: string): void {
    this.#devices.delete(deviceId);
    this.#list = undefined;
  }

  /** @param id the ID of a delegation, 22 characters */
  endDelegation(id: string): void {
    this.#ended.add(id);
    this.#list = undefined;
  }
}
