import { type AllowList, createAllowList, type TrustedDevice } from '../../core/devices/allow-list';
import type { AllowListDocument, DeviceEntry } from './document';

const made = new WeakMap<AllowListDocument, AllowList>();
const documents = new WeakMap<AllowList, AllowListDocument>();

/** The allow list that a document says. */
export function toAllowList(document: AllowListDocument): AllowList {
  const { list: deviceId, hosts, devices } = document;
  const list = made.get(document) ?? createAllowList({ deviceId, hosts, devices: devices.map(toDevice) });
  documents.set(list, document);
  return list;
}

/** The document that a list was made of by {@link toAllowList}. */
export function documentOf(list: AllowList): AllowListDocument | undefined {
  return documents.get(list);
}

/** Keeps the list of a document that was made on the way. */
export function keepAllowList(document: AllowListDocument, list: AllowList): void {
  made.set(document, list);
}

/** A lease is the end of its device's trust. */
export function toDevice(entry: DeviceEntry): TrustedDevice {
  return entry.lease === undefined ? entry : { ...entry, expiresAt: entry.lease.expiresAt };
}
