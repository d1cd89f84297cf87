import { type AllowList, createAllowList, type TrustedDevice } from '../core/allow-list';
import type { AllowListDocument, DeviceEntry } from './document';

const made = new WeakMap<AllowListDocument, AllowList>();

/** The allow list that a document says. */
export function toAllowList(document: AllowListDocument): AllowList {
  const { list, hosts, devices } = document;
  return made.get(document) ?? createAllowList({ deviceId: list, hosts, devices: devices.map(toDevice) });
}

/** Keeps the list of a document that was made on the way. */
export function keepAllowList(document: AllowListDocument, list: AllowList): void {
  made.set(document, list);
}

export function toDevice(entry: DeviceEntry): TrustedDevice {
  return entry.lease === undefined ? entry : { ...entry, expiresAt: entry.lease.expiresAt };
}
