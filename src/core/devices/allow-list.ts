import { andThen } from '../and-then';
import { assertCompressedPoint } from '../crypto/points';
import type { CryptoProvider, MaybePromise } from '../crypto/provider';
import { fromBase64Url, toBase64Url } from '../encoding';
import { assertOptionNames, isWithin } from '../options';
import { normalizeAuthority, parseHosts } from '../wire/authority';
import { isDeviceId, isNonce } from '../wire/credentials';
import { isScopePattern } from './scopes';

/** A `controller` may call this device; a `target` may be called by it. A device can have both roles. */
export type Role = 'controller' | 'target';

/** A key that proves the answers of a target. */
export interface ProvingKey {
  /** Its device ID. */
  readonly deviceId: string;
  /** The compressed P-256 point, 33 bytes, in base64url: 44 characters. */
  readonly publicKey: string;
  /** Unix seconds until which it counts, because the target has moved to another key. Absent for the present key. */
  readonly until?: number | undefined;
}

/** A device that this one trusts. */
export interface TrustedDevice {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed P-256 point, 33 bytes, in base64url: 44 characters. */
  readonly publicKey: string;
  /** Shown to people; no check uses it. */
  readonly friendlyName: string;
  /** At least one role. */
  readonly roles: readonly Role[];
  /** For a target: the authorities under which it is called. */
  readonly hosts?: readonly string[] | undefined;
  /** Unix seconds after which it is no longer trusted. */
  readonly expiresAt?: number | undefined;
  /** For a controller: what it may do, such as `orders:read`, `orders:*` or `*`. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[] | undefined;
  /** For a target: it has not yet shown that it trusts this device. No check uses it. */
  readonly unconfirmed?: true | undefined;
  /** For a target: false if it cannot prove its answers; default true. */
  readonly proves?: boolean | undefined;
  /** For a target that has moved to another key: the keys that prove its answers, the present one last. */
  readonly keys?: readonly ProvingKey[] | undefined;
  /** For a controller: Unix seconds. Statements about working keys and delegates that its key signed before that do not count. */
  readonly keysSince?: number | undefined;
  /** The IDs that the device had before its key was rotated, the oldest first, at most 16. Absent if its key is the first one. */
  readonly formerIds?: readonly string[] | undefined;
  /** The ID that the device has now: its key was rotated, and this one counts until `expiresAt`. */
  readonly replacedBy?: string | undefined;
}

/** The allow list, as a verifier reads it. It never changes: a change makes another object. */
export interface AllowList {
  /** This device's own ID, which AuthMesh-Target must name; null if there is none. */
  readonly deviceId: string | null;
  /** The ID of the key that seals the list, if that is not the key of `deviceId`: AuthMesh-Target may name it as well. */
  readonly ownerId?: string | undefined;
  /** The IDs of the keys that sealed the list before, except `deviceId`: AuthMesh-Target may name them as well. */
  readonly formerOwnerIds?: readonly string[] | undefined;
  /** The statement with which a former key of this device named its present one, sent with answers that need it. */
  readonly succession?: string | undefined;
  /** The authorities that this device accepts. */
  readonly hosts: readonly string[];
  /** The IDs of delegations that were revoked here, 22 characters each; default none. */
  readonly endedDelegations?: Pick<ReadonlySet<string>, 'has'> | undefined;
  /** The device with this ID, whatever its roles; undefined if the list has none. */
  find(deviceId: string): TrustedDevice | undefined;
  /** The target that has this authority. */
  targetOf(authority: string): TrustedDevice | undefined;
}

/** Whether an ID is one of the device that has this list: its own, or the ID of a key that seals the list or has sealed it. */
export function isOwnId({ deviceId, ownerId, formerOwnerIds }: AllowList, id: string): boolean {
  return id === deviceId || id === ownerId || formerOwnerIds?.includes(id) === true;
}

/** Supplies the allow list. It is called for every request, so it should return an unchanged list without work. */
export interface AllowListSource {
  /**
   * @throws AmeshError `allow_list_integrity_failure` or `allow_list_unavailable`, which refuses the request
   */
  current(): MaybePromise<AllowList>;
  /** Marks the list as stale: the next `current()` checks it again. Called after a change, or if a device is missing. */
  expire?(): void;
}

const NAMES: ReadonlySet<string> = new Set(['deviceId', 'hosts', 'devices', 'endedDelegations']);

/** The latest moment at which trust may end, in Unix seconds: in the year 5138. The limit rejects a time in milliseconds. */
export const LATEST_END = 1e11;

/**
 * Creates an allow list from plain values. An existing allow list is returned unchanged.
 *
 * @throws TypeError for a malformed or duplicate ID, key, role, host, time or scope, or an unknown member
 */
export function createAllowList(
  init:
    | {
        /** This device's own ID; default null, which refuses requests that name a target. */
        deviceId?: string | null;
        /** The authorities that this device accepts, `host[:port]`; default none, which accepts loopback names only. */
        hosts?: readonly string[];
        /** The devices to trust; default none. */
        devices?: readonly TrustedDevice[];
        /** The IDs of delegations that no longer count, 22 characters each; default none. */
        endedDelegations?: readonly string[];
      }
    | AllowList,
): AllowList {
  if (typeof (init as AllowList)?.targetOf === 'function') return init as AllowList;
  assertOptionNames('allowList', init, NAMES);
  const given = init as Exclude<typeof init, AllowList>;
  const { deviceId = null, hosts = [], devices = [], endedDelegations = [] } = given;
  const builder = new AllowListBuilder(deviceId, hosts, endedDelegations);
  for (const device of devices) builder.add(device);
  return builder.build();
}

/**
 * The source for an option `allowList`.
 *
 * @throws TypeError for another value
 */
export function toSource(
  given: AllowListSource | AllowList | Parameters<typeof createAllowList>[0],
): AllowListSource {
  if (typeof (given as AllowListSource)?.current === 'function') return given as AllowListSource;
  const list = createAllowList(given as AllowList);
  return { current: () => list };
}

/** Builds an {@link AllowList} device by device, so that a long list can be split into turns of the event loop. */
export class AllowListBuilder {
  readonly #deviceId: string | null;
  readonly #hosts: readonly string[];
  readonly #ended: ReadonlySet<string>;
  readonly #byId = new Map<string, TrustedDevice>();
  readonly #byHost = new Map<string, TrustedDevice>();

  /** @throws TypeError for a malformed ID or host */
  constructor(deviceId: string | null, hosts: readonly string[], ended: readonly string[] = []) {
    if (deviceId !== null && !isDeviceId(deviceId)) throw new TypeError('deviceId must have the form am_….');
    if (!Array.isArray(ended) || !ended.every((id) => typeof id === 'string' && isNonce(id)))
      throw new TypeError('endedDelegations must be a list of IDs of 22 characters.');
    this.#ended = new Set(ended);
    this.#deviceId = deviceId;
    this.#hosts = parseHosts(hosts);
  }

  /** @throws TypeError for a malformed or duplicate ID, key, role, host, time or scope */
  add(device: TrustedDevice): void {
    if (!isDeviceId(device.deviceId))
      throw new TypeError('The deviceId of a device must have the form am_….');
    if (this.#byId.has(device.deviceId)) throw new TypeError(`${device.deviceId} is in the list twice.`);
    assertCompressedPoint(fromBase64Url(device.publicKey) ?? new Uint8Array());
    const { roles, expiresAt = 0, keysSince = 0, scopes = [], proves = true } = device;
    if (!roles.every((role) => role === 'controller' || role === 'target')) {
      throw new TypeError('A role must be "controller" or "target".');
    }
    if (!isWithin(expiresAt, 0, LATEST_END) || !isWithin(keysSince, 0, LATEST_END))
      throw new TypeError('expiresAt and keysSince must be Unix seconds.');
    if (!Array.isArray(scopes) || !scopes.every(isScopePattern))
      throw new TypeError('scopes must be a list of scopes: orders:read, orders:* or *.');
    if (typeof proves !== 'boolean') throw new TypeError('proves must be true or false.');
    this.#byId.set(device.deviceId, device);
    if (!roles.includes('target')) return;
    for (const host of parseHosts(device.hosts ?? [])) {
      if (this.#byHost.has(host)) throw new TypeError(`${host} belongs to two targets.`);
      this.#byHost.set(host, device);
    }
  }

  build(): AllowList {
    const byId = this.#byId;
    const byHost = this.#byHost;
    return {
      deviceId: this.#deviceId,
      hosts: this.#hosts,
      endedDelegations: this.#ended,
      find: (id) => byId.get(id),
      targetOf: (authority) => byHost.get(normalizeAuthority(authority) ?? ''),
    };
  }
}

/**
 * The ID of a device: `am_` and the first 16 base64url characters of the SHA-256 of its public key.
 *
 * @param publicKey a compressed P-256 point, 33 bytes
 */
export function deviceIdOf(
  publicKey: Uint8Array,
  crypto: Pick<CryptoProvider, 'sha256'>,
): MaybePromise<string> {
  assertCompressedPoint(publicKey);
  return andThen(crypto.sha256(publicKey), toDeviceId);
}

function toDeviceId(digest: Uint8Array): string {
  return `am_${toBase64Url(digest).slice(0, 16)}`;
}
