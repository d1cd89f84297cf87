import { assertCompressedPoint } from '../crypto/points';
import type { CryptoProvider, MaybePromise } from '../crypto/provider';
import { fromBase64Url, toBase64Url } from '../encoding';
import { assertOptionNames, isWithin } from '../options';
import { normalizeAuthority, parseHosts } from '../wire/authority';
import { isDeviceId } from '../wire/credentials';

/** What a device may do towards this one: call it, or be called by it. A device can hold both. */
export type Role = 'controller' | 'target';

/** A device that this one trusts. */
export interface TrustedDevice {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed P-256 point, 33 bytes, in base64url: 44 characters. */
  readonly publicKey: string;
  /** For people; it decides nothing. */
  readonly friendlyName: string;
  /** What it may do; at least one role. */
  readonly roles: readonly Role[];
  /** For a target: the authorities at which it is called. */
  readonly hosts?: readonly string[] | undefined;
  /** Unix seconds after which it is not trusted any more. */
  readonly expiresAt?: number | undefined;
  /** For a target: it has not yet shown that it trusts this device. Decides nothing. */
  readonly unconfirmed?: true | undefined;
}

/** The allow list as a verifier reads it. */
export interface AllowList {
  /** This device's own id, which AuthMesh-Target has to name; null where there is none. */
  readonly deviceId: string | null;
  /** The authorities to which this device answers. */
  readonly hosts: readonly string[];
  /** The device with this id, whatever its roles; undefined where the list has none. */
  find(deviceId: string): TrustedDevice | undefined;
  /** The target that an authority belongs to. */
  targetOf(authority: string): TrustedDevice | undefined;
}

/** Where the allow list comes from; asked on every request, so a fresh list costs nothing when nothing has changed. */
export interface AllowListSource {
  /**
   * @throws AmeshError `allow_list_integrity_failure` or `allow_list_unavailable`; the request is then refused
   */
  current(): MaybePromise<AllowList>;
  /** Whoever has just changed the list, or misses something in it, wants it looked at again before it counts next. */
  expire?(): void;
}

const NAMES: ReadonlySet<string> = new Set(['deviceId', 'hosts', 'devices']);

/** The latest end of a trust, Unix seconds: in the year 5138. A time in milliseconds is beyond it. */
const LATEST = 1e11;

/**
 * An allow list out of plain values. One that was made before is given back as it is.
 *
 * @throws TypeError where an id, key, role, host or end is not of its form, or stands there twice; for another member
 */
export function createAllowList(
  init:
    | {
        /** This device's own id; default null, and requests that name a target are then refused. */
        deviceId?: string | null;
        /** The authorities to which this device answers, `host[:port]`; default none: loopback names only. */
        hosts?: readonly string[];
        /** Whom to trust; default nobody. */
        devices?: readonly TrustedDevice[];
      }
    | AllowList,
): AllowList {
  if (typeof (init as AllowList)?.targetOf === 'function') return init as AllowList;
  assertOptionNames('allowList', init, NAMES);
  const { deviceId = null, hosts = [], devices = [] } = init as Exclude<typeof init, AllowList>;
  const builder = new AllowListBuilder(deviceId, hosts);
  for (const device of devices) builder.add(device);
  return builder.build();
}

/**
 * The source that an option `allowList` stands for.
 *
 * @throws TypeError where it stands for none
 */
export function toSource(
  given: AllowListSource | AllowList | Parameters<typeof createAllowList>[0],
): AllowListSource {
  if (typeof (given as AllowListSource)?.current === 'function') return given as AllowListSource;
  const list = createAllowList(given as AllowList);
  return { current: () => list };
}

/** Makes an {@link AllowList} device by device, for whoever has more of them than fit into one turn. */
export class AllowListBuilder {
  readonly #deviceId: string | null;
  readonly #hosts: readonly string[];
  readonly #byId = new Map<string, TrustedDevice>();
  readonly #byHost = new Map<string, TrustedDevice>();

  /** @throws TypeError */
  constructor(deviceId: string | null, hosts: readonly string[]) {
    if (deviceId !== null && !isDeviceId(deviceId)) throw new TypeError('deviceId is not of the form am_….');
    this.#deviceId = deviceId;
    this.#hosts = parseHosts(hosts);
  }

  /** @throws TypeError where an id, key, role or host is not of its form, or stands there twice */
  add(device: TrustedDevice): void {
    if (!isDeviceId(device.deviceId))
      throw new TypeError('The deviceId of a device is not of the form am_….');
    if (this.#byId.has(device.deviceId)) throw new TypeError(`${device.deviceId} stands in the list twice.`);
    assertCompressedPoint(fromBase64Url(device.publicKey) ?? new Uint8Array());
    const { roles, expiresAt = 0 } = device;
    if (!roles.every((role) => role === 'controller' || role === 'target')) {
      throw new TypeError('A role is "controller" or "target".');
    }
    if (!isWithin(expiresAt, 0, LATEST)) throw new TypeError('expiresAt is Unix seconds.');
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
      find: (id) => byId.get(id),
      targetOf: (authority) => byHost.get(normalizeAuthority(authority) ?? ''),
    };
  }
}

/**
 * The id of a device: `am_` and the first 16 base64url characters of the SHA-256 of its public key.
 *
 * @param publicKey a compressed P-256 point, 33 bytes
 */
export function deviceIdOf(publicKey: Uint8Array, crypto: CryptoProvider): MaybePromise<string> {
  assertCompressedPoint(publicKey);
  const digest = crypto.sha256(publicKey);
  return digest instanceof Promise ? digest.then(toDeviceId) : toDeviceId(digest);
}

function toDeviceId(digest: Uint8Array): string {
  return `am_${toBase64Url(digest).slice(0, 16)}`;
}
