import type { Role } from '../core/devices/allow-list';
import { AmeshError } from '../core/errors/amesh-error';
import { TRUST_CODES } from './errors/codes';
import type { AllowListDocument, DeviceEntry, Tombstone } from './list/document';
import { cleanName, uniqueName } from './names';

/** The longest that a token or statement made before a revocation can live, and an hour for clocks. */
const TOMBSTONE_SECONDS = 25 * 3600;

/** A peer that is to be trusted. */
export interface NewDevice {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** As the peer gave it; cleaned here. */
  readonly friendlyName: string;
  /** Whether it may call this machine, or is called by it. */
  readonly role: Role;
  /** For a target: the authorities at which it is called, in normal form. */
  readonly hosts: readonly string[];
  /** For a target that is not one yet: it has not shown that it trusts this device. */
  readonly unconfirmed?: true | undefined;
}

/**
 * Adds a device, or a role and hosts to one that is there.
 *
 * @returns the same document where nothing is new
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
      fix: 'Revoke it first if you are sure',
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
 * Takes note that a target trusts this device.
 *
 * @returns the same document where that is known, or the device is not there
 */
export function confirmDevice(document: AllowListDocument, id: string): AllowListDocument {
  const known = document.devices.find(({ deviceId }) => deviceId === id);
  if (known?.unconfirmed === undefined) return document;
  const { unconfirmed: _, ...entry } = known;
  return replaceDevice(document, known, entry);
}

/**
 * Gives a device another name, cleaned here.
 *
 * @returns the same document where it has that name
 * @throws AmeshError `unknown_name` where the device is not there, `name_taken` where another one has the name
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
      `${other.deviceId} is called ${JSON.stringify(other.friendlyName)} already.`,
      {
        fix: 'Choose another name, or rename that one',
        command: ['amesh', 'rename', other.deviceId, 'NEW-NAME'],
      },
    );
  return replaceDevice(document, known, { ...known, friendlyName });
}

/** `host_taken`, with the device that has the host. */
export function hostTaken(host: string, { friendlyName, deviceId }: DeviceEntry): AmeshError {
  const name = /^[A-Za-z0-9][\w.-]*$/.test(friendlyName) ? friendlyName : deviceId;
  return new AmeshError(TRUST_CODES.host_taken, `${host} belongs to "${friendlyName}" already.`, {
    fix: 'Use another host, or revoke that one first',
    command: ['amesh', 'revoke', name],
  });
}

/** Puts an entry in the place of another. */
export function replaceDevice(
  document: AllowListDocument,
  old: DeviceEntry,
  entry: DeviceEntry,
): AllowListDocument {
  return { ...document, devices: document.devices.map((other) => (other === old ? entry : other)) };
}

/**
 * Removes a device with all its roles, and remembers its key for as long as an old request or token could bring it back.
 *
 * @returns the same document where it is not there
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

/** Takes the role of a controller from a device; one that has no other is revoked. */
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

/** Sets the authorities to which this device answers, in normal form. */
export function setHosts(document: AllowListDocument, hosts: readonly string[]): AllowListDocument {
  const next = [...new Set(hosts)];
  const same = next.length === document.hosts.length && next.every((host) => document.hosts.includes(host));
  return same ? document : { ...document, hosts: next };
}

/**
 * The device that a user means by an id or a name; an id wins over a name.
 *
 * @throws AmeshError `unknown_name`, `ambiguous_name`
 */
export function findDevice(document: AllowListDocument, idOrName: string): DeviceEntry {
  const { devices } = document;
  const name = idOrName.normalize('NFC'); // as names are stored, whatever the keyboard composes
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
