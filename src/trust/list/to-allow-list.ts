import { type AllowList, createAllowList, type TrustedDevice } from '../../core/devices/allow-list';
import type { AllowListDocument, DeviceEntry } from './document';

// A document has only the members of its file, and a list only those of the public API. So neither refers to the other.
const made = new WeakMap<AllowListDocument, AllowList>();
const documents = new WeakMap<AllowList, AllowListDocument>();

/** The allow list of a document. */
export function toAllowList(document: AllowListDocument): AllowList {
  const { list: deviceId, hosts, devices } = document;
  const list = made.get(document) ?? createAllowList({ deviceId, hosts, devices: devices.map(toDevice) });
  documents.set(list, document);
  return list;
}

/** The document from which {@link toAllowList} made a list. */
export function documentOf(list: AllowList): AllowListDocument | undefined {
  return documents.get(list);
}

/** Keeps a list that was built while its document was checked. */
export function keepAllowList(document: AllowListDocument, list: AllowList): void {
  made.set(document, list);
}

/** The end of a lease is the end of the trust in its device. */
export function toDevice(entry: DeviceEntry): TrustedDevice {
  return entry.lease === undefined ? entry : { ...entry, expiresAt: entry.lease.expiresAt };
}
