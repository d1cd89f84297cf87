import type { Role } from '../core/devices/allow-list';
import { AmeshError } from '../core/errors/amesh-error';
import { TRUST_CODES } from './errors/codes';
import type { AllowListDocument, DeviceEntry, Tombstone } from './list/document';
import { cleanName, uniqueName } from './names';

/** The longest life of a token or statement from before a revocation (24 h), and an hour of clock difference. */
const TOMBSTONE_SECONDS = 25 * 3600;

/** A peer to trust. */
export interface NewDevice {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** As the peer sent it; cleaned here. */
  readonly friendlyName: string;
  /** `controller`: it may call this machine. `target`: this machine may call it. */
  readonly role: Role;
  /** For a target: the authorities under which it is called, in normal form. */
  readonly hosts: readonly string[];
  /** For a new target: it has not yet shown that it trusts this device. */
  readonly unconfirmed?: true | undefined;
}

/**
 * Adds a device, or adds a role and hosts to a known device.
 *
 * @returns the same document if nothing changes
 * @throws AmeshError `own_key`, `key_mismatch`, `host_taken`
 */
export function addDevice(
  document: AllowListDocument,
  device: NewDevice,
  nowSeconds: number,
): AllowListDocument {
  if (device.publicKey === document.owner || device.deviceId === document.list)
    throw new AmeshError(TRUST_CODES.own_key);
  const known = document.devices.find(({ deviceId }) => deviceId === device.deviceId);
  if (known !== undefined && known.publicKey !== device.publicKey) {
    throw new AmeshError(TRUST_CODES.key_mismatch, undefined, {
      fix: 'If the new key is right, first run',
      command: ['amesh', 'revoke', known.deviceId],
    });
  }
  for (const other of device.hosts.length === 0 ? [] : document.devices) {
    const host =
      other === known ? undefined : device.hosts.find((candidate) => other.hosts.includes(candidate));
    if (host !== undefined) throw hostTaken(host, other);
  }

  if (known === undefined) {
    const names = document.devices.map(({ friendlyName }) => friendlyName);
    const entry: DeviceEntry = {
      deviceId: device.deviceId,
      publicKey: device.publicKey,
      friendlyName: uniqueName(cleanName(device.friendlyName), names),
      roles: [device.role],
      hosts: device.hosts,
      addedAt: nowSeconds,
      ...(device.unconfirmed && { unconfirmed: true }),
    };
    const tombstones = document.tombstones.filter(({ deviceId }) => deviceId !== device.deviceId);
    return { ...document, devices: [...document.devices, entry], tombstones };
  }
  const roles = [...new Set([...known.roles, device.role])];
  const hosts = [...new Set([...known.hosts, ...device.hosts])];
  const isForGood = device.role === 'controller' && known.lease !== undefined; // a paired device needs no lease
  if (roles.length === known.roles.length && hosts.length === known.hosts.length && !isForGood)
    return document;
  const isNewTarget = device.role === 'target' && !known.roles.includes('target');
  const { lease: _, ...unleased } = known;
  const entry = {
    ...(isForGood ? unleased : known),
    roles,
    hosts,
    ...(isNewTarget && device.unconfirmed && { unconfirmed: true as const }),
  };
  return replaceDevice(document, known, entry);
}

/**
 * Records that a target trusts this device.
 *
 * @returns the same document if this is already recorded, or the device is not in the list
 */
export function confirmDevice(document: AllowListDocument, id: string): AllowListDocument {
  const known = document.devices.find(({ deviceId }) => deviceId === id);
  if (known?.unconfirmed === undefined) return document;
  const { unconfirmed: _, ...entry } = known;
  return replaceDevice(document, known, entry);
}

/**
 * Renames a device; the name is cleaned here.
 *
 * @returns the same document if it already has that name
 * @throws AmeshError `unknown_name` if the device is not in the list, `name_taken` if another device has the name
 */
export function renameDevice(document: AllowListDocument, id: string, name: string): AllowListDocument {
  const known = document.devices.find(({ deviceId }) => deviceId === id);
  if (known === undefined) throw new AmeshError(TRUST_CODES.unknown_name, `${id} is not in the allow list.`);
  const friendlyName = cleanName(name);
  if (friendlyName === known.friendlyName) return document;
  const lower = friendlyName.toLowerCase();
  const other = document.devices.find(
    (device) => device !== known && device.friendlyName.toLowerCase() === lower,
  );
  if (other !== undefined)
    throw new AmeshError(
      TRUST_CODES.name_taken,
      `${other.deviceId} is already called ${JSON.stringify(other.friendlyName)}.`,
      {
        fix: 'Choose another name, or rename the other device',
        command: ['amesh', 'rename', other.deviceId, 'NEW-NAME'],
      },
    );
  return replaceDevice(document, known, { ...known, friendlyName });
}

/** `host_taken`, naming the device that has the host. */
export function hostTaken(host: string, { friendlyName, deviceId }: DeviceEntry): AmeshError {
  const name = /^[A-Za-z0-9][\w.-]*$/.test(friendlyName) ? friendlyName : deviceId;
  return new AmeshError(TRUST_CODES.host_taken, `${host} already belongs to "${friendlyName}".`, {
    fix: 'Use another host, or first run',
    command: ['amesh', 'revoke', name],
  });
}

/** Replaces one entry with another. */
export function replaceDevice(
  document: AllowListDocument,
  old: DeviceEntry,
  entry: DeviceEntry,
): AllowListDocument {
  return { ...document, devices: document.devices.map((other) => (other === old ? entry : other)) };
}

/**
 * Removes a device with all its roles. A tombstone keeps its key out until no old request or token can bring it back.
 *
 * @returns the same document if the device is not in the list
 */
export function revokeDevice(document: AllowListDocument, id: string, nowSeconds: number): AllowListDocument {
  if (!document.devices.some(({ deviceId }) => deviceId === id)) return document;
  const tombstone: Tombstone = { deviceId: id, revokedAt: nowSeconds, until: nowSeconds + TOMBSTONE_SECONDS };
  const others = document.tombstones.filter(({ deviceId, until }) => deviceId !== id && until > nowSeconds);
  return {
    ...document,
    devices: document.devices.filter(({ deviceId }) => deviceId !== id),
    tombstones: [...others, tombstone],
  };
}

/** Removes the controller role from a device. Without another role, the device is revoked. */
export function dismissController(
  document: AllowListDocument,
  id: string,
  nowSeconds: number,
): AllowListDocument {
  const known = document.devices.find(({ deviceId }) => deviceId === id);
  if (known === undefined || !known.roles.includes('controller')) return document;
  const roles = known.roles.filter((role) => role !== 'controller');
  if (roles.length === 0) return revokeDevice(document, id, nowSeconds);
  const { lease: _, ...entry } = known;
  return replaceDevice(document, known, { ...entry, roles });
}

/** Sets the authorities that this device accepts, in normal form. */
export function setHosts(document: AllowListDocument, hosts: readonly string[]): AllowListDocument {
  const next = [...new Set(hosts)];
  const same = next.length === document.hosts.length && next.every((host) => document.hosts.includes(host));
  return same ? document : { ...document, hosts: next };
}

/**
 * Finds a device by ID or name, as a user typed it. An ID wins over a name.
 *
 * @throws AmeshError `unknown_name`, `ambiguous_name`
 */
export function findDevice(document: AllowListDocument, idOrName: string): DeviceEntry {
  const { devices } = document;
  const name = idOrName.normalize('NFC'); // names are stored in NFC; keyboards may send another form
  const lower = name.toLowerCase();
  const matches = [
    devices.filter(({ deviceId }) => deviceId === idOrName),
    devices.filter(({ friendlyName }) => friendlyName === name),
    devices.filter(({ friendlyName }) => friendlyName.toLowerCase() === lower),
  ].find((found) => found.length > 0);
  if (matches === undefined)
    throw new AmeshError(TRUST_CODES.unknown_name, `No device is called ${JSON.stringify(idOrName)}.`);
  if (matches.length > 1)
    throw new AmeshError(
      TRUST_CODES.ambiguous_name,
      `${matches.length} devices are called ${JSON.stringify(idOrName)}.`,
    );
  return matches[0] as DeviceEntry;
}
