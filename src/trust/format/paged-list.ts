import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';
import { AllowListIntegrityError, type AmeshError } from '../../core/errors/amesh-error';
import { normalizeAuthority } from '../../core/wire/authority';
import {
  type DeviceEntry,
  type DeviceLine,
  type Entry,
  idOf,
  isNextOf,
  readEntry,
  type Tombstone,
  unknownEntry,
} from './entry';
import type { ListHead } from './head';
import { findInPage, linesOf, textsOf } from './page';
import { bitsOf, findPrefix } from './prefix';

/** How many parsed devices are kept at most. */
const MAX_PARSED = 10_000;

/** The bytes of a valid page, or the error for requests of its devices. */
export type PageContent =
  | {
      /** The bytes of a valid page. */
      readonly bytes: Uint8Array;
    }
  | {
      /** The error that its devices get. */
      readonly error: AmeshError;
    };

/** A page that was loaded. Revisions that name the same page share one object. */
export interface Page {
  /** The bits with which all its IDs begin. */
  readonly prefix: string;
  /** The hash that names it; null for entries that the head holds itself. */
  readonly hash: string | null;
  /** Its bytes, or the error that its devices get. */
  readonly content: PageContent;
}

/** The devices that were parsed last. */
export class ParsedDevices {
  readonly #devices = new Map<string, { readonly page: Page; readonly device: TrustedDevice }>();

  get(deviceId: string, page: Page): TrustedDevice | undefined {
    const known = this.#devices.get(deviceId);
    return known?.page === page ? known.device : undefined;
  }

  set(deviceId: string, page: Page, device: TrustedDevice): void {
    if (this.#devices.size >= MAX_PARSED && !this.#devices.has(deviceId))
      this.#devices.delete(this.#devices.keys().next().value as string);
    this.#devices.set(deviceId, { page, device });
  }
}

/** One revision of an allow list. A missing or damaged page affects only the devices on it. */
export class PagedList implements AllowList {
  readonly deviceId: string;
  readonly ownerId: string | undefined;
  readonly formerOwnerIds: readonly string[] | undefined;
  readonly succession: string | undefined;
  readonly hosts: readonly string[];
  readonly endedDelegations: ReadonlySet<string>;
  /** Whether all its pages are there and valid. */
  readonly isWhole: boolean;
  /** Devices to leave out, whatever the pages say, with their tombstones. */
  readonly gone: ReadonlyMap<string, Tombstone>;
  readonly #prefixes: readonly string[];
  readonly #targets: ReadonlyMap<string, string>;
  /** Grouped on first use: a server never needs it. */
  #hosts: ReadonlyMap<string, readonly string[]> | null = null;

  /**
   * @param head the head, whose seal was verified
   * @param mark identifies the head, see {@link markOf}
   * @param pages the pages that the head names, in the same order
   * @param parsed shared by the revisions of a list
   * @param newest a newer head, not all of whose pages are there yet: its revocations take effect immediately
   */
  constructor(
    readonly head: ListHead,
    readonly mark: string,
    readonly pages: readonly Page[],
    readonly parsed: ParsedDevices = new ParsedDevices(),
    newest?: Pick<ListHead, 'recent' | 'ended'>,
  ) {
    this.deviceId = head.list;
    this.ownerId = head.ownerId;
    this.formerOwnerIds = head.was;
    this.succession = head.succession;
    this.hosts = head.hosts;
    this.endedDelegations = new Set([...head.ended, ...(newest?.ended ?? [])].map(([id]) => id));
    this.gone = new Map(newest?.recent.map((each) => [each.deviceId, each]));
    this.#prefixes = head.pages.map(({ prefix }) => prefix);
    this.#targets = new Map(head.targets);
    this.isWhole = pages.every(({ content }) => 'bytes' in content);
  }

  /**
   * @throws AmeshError `allow_list_unavailable` if the page of this device is missing or damaged;
   *   `allow_list_integrity_failure` if this version does not understand the page or the entry
   */
  find(deviceId: string): TrustedDevice | undefined {
    if (this.gone.has(deviceId)) return undefined;
    const page = this.pages[findPrefix(this.#prefixes, bitsOf(deviceId))] as Page;
    const known = this.parsed.get(deviceId, page);
    if (known !== undefined) return known;
    const entry = findEntry(page, deviceId);
    if (entry?.kind !== 'device' || entry.device.pending) return undefined;
    if (entry.device.retiresAt !== undefined) return this.#findReplaced(entry.device);
    const device = toTrusted(entry.device);
    this.parsed.set(deviceId, page, device);
    return device;
  }

  /**
   * A device whose key was replaced. It may call with the rights of the device that replaced it, and not longer than that one. The
   * result is not kept, since it comes from two pages.
   */
  #findReplaced(line: DeviceLine): TrustedDevice | undefined {
    const { scopes: _, keysSince: __, ...own } = toTrusted(line); // those of the present device apply
    const last = this.#lastOf(line);
    const successor = last && this.find(last.deviceId);
    if (last === undefined || !successor?.roles.includes('controller'))
      return own.roles.length > 0 ? own : undefined;
    const { deviceId, friendlyName, scopes, keysSince, expiresAt = last.retiresAt } = successor;
    return {
      ...own,
      friendlyName,
      roles: [...own.roles, 'controller'],
      expiresAt: Math.min(expiresAt, last.retiresAt),
      replacedBy: deviceId,
      ...(scopes && { scopes }),
      ...(keysSince && { keysSince }),
    };
  }

  /** The device at the end of a chain of replaced devices, and when the first of them ends. */
  #lastOf(line: DeviceLine): { readonly deviceId: string; readonly retiresAt: number } | undefined {
    let former = line;
    let { retiresAt = 0 } = line;
    const seen = new Set<string>(); // stops at a circle
    while (former.next !== undefined && !seen.has(former.deviceId)) {
      seen.add(former.deviceId);
      const entry = this.entry(former.next);
      if (!isNextOf(former, entry) || entry.pending) return undefined;
      if (entry.retiresAt === undefined) return { deviceId: entry.deviceId, retiresAt };
      former = entry;
      retiresAt = Math.min(retiresAt, entry.retiresAt);
    }
    return undefined;
  }

  /** The same list without the devices and delegations that a newer head revokes. */
  without({ recent, ended }: ListHead): PagedList {
    return new PagedList(this.head, this.mark, this.pages, this.parsed, { recent, ended });
  }

  targetOf(authority: string): TrustedDevice | undefined {
    const deviceId = this.#targets.get(normalizeAuthority(authority) ?? '');
    return deviceId === undefined ? undefined : this.find(deviceId);
  }

  /** The whole entry of a device. Throws like {@link find}. */
  entry(deviceId: string): DeviceEntry | undefined {
    if (this.gone.has(deviceId)) return undefined;
    const entry = findEntry(this.pages[findPrefix(this.#prefixes, bitsOf(deviceId))] as Page, deviceId);
    return entry?.kind === 'device' ? this.#toDevice(entry.device) : undefined;
  }

  /** Whether the list has a tombstone of the device. Throws like {@link find}. */
  isRevoked(deviceId: string): boolean {
    return this.tombstone(deviceId) !== undefined;
  }

  /** The tombstone of a revoked device; undefined if there is none. Throws like {@link find}. */
  tombstone(deviceId: string): Tombstone | undefined {
    const gone = this.gone.get(deviceId);
    if (gone !== undefined) return gone;
    const entry = findEntry(this.pages[findPrefix(this.#prefixes, bitsOf(deviceId))] as Page, deviceId);
    return entry?.kind === 'tombstone' ? entry.tombstone : undefined;
  }

  /** All devices, sorted by page and ID. Throws like {@link find}. */
  *devices(): Generator<DeviceEntry> {
    for (const page of this.pages) {
      for (const value of linesOf(bytesOf(page))) {
        const entry = readEntry(value);
        if (entry === null) throw unknownEntry();
        if (entry.kind === 'device') yield this.#toDevice(entry.device);
      }
    }
  }

  /** All lines unchanged, including those that this version does not know. Throws if a page is missing or damaged. */
  *lines(): Generator<{ readonly deviceId: string; readonly line: string }> {
    for (const page of this.pages) yield* textsOf(bytesOf(page));
  }

  #toDevice(line: DeviceLine): DeviceEntry {
    this.#hosts ??= groupHosts(this.head.targets);
    return { ...line, hosts: this.#hosts.get(line.deviceId) ?? [] };
  }
}

/** The authorities of each target, by its ID. */
export function groupHosts(targets: ListHead['targets']): Map<string, string[]> {
  const hosts = new Map<string, string[]>();
  for (const [authority, deviceId] of targets)
    hosts.set(deviceId, [...(hosts.get(deviceId) ?? []), authority]);
  return hosts;
}

function findEntry(page: Page, deviceId: string): Entry | undefined {
  let value: unknown;
  try {
    value = findInPage(bytesOf(page), deviceId);
  } catch (error) {
    if (
      error instanceof AllowListIntegrityError ||
      !(error instanceof SyntaxError || error instanceof TypeError)
    )
      throw error;
    throw unknownEntry();
  }
  if (value === undefined) return undefined;
  const entry = readEntry(value);
  if (entry === null || idOf(entry) !== deviceId) throw unknownEntry();
  return entry;
}

function bytesOf({ content }: Page): Uint8Array {
  if ('error' in content) throw content.error;
  return content.bytes;
}

/** The part of an entry that a verifier needs. Trust ends with the entry or with its lease, whichever comes first. */
function toTrusted(entry: DeviceLine): TrustedDevice {
  const { deviceId, publicKey, friendlyName, roles, scopes } = entry;
  const { unconfirmed, proves, keys, keysSince, was } = entry;
  const ends = [entry.expiresAt, entry.lease?.expiresAt].filter((end) => end !== undefined);
  return {
    deviceId,
    publicKey,
    friendlyName,
    roles,
    ...(ends.length > 0 && { expiresAt: Math.min(...ends) }),
    ...(scopes && { scopes }),
    ...(unconfirmed && { unconfirmed }),
    ...(proves === false && { proves }),
    ...(keys && { keys }),
    ...(keysSince && { keysSince }),
    ...(was && { formerIds: was }),
  };
}
