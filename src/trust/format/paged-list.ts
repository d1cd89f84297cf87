import type { AllowList, TrustedDevice } from '../../core/devices/allow-list';
import { AllowListIntegrityError, type AmeshError } from '../../core/errors/amesh-error';
import { normalizeAuthority } from '../../core/wire/authority';
import {
  type DeviceEntry,
  type DeviceLine,
  type Entry,
  idOf,
  readEntry,
  type Tombstone,
  unknownEntry,
} from './entry';
import type { ListHead } from './head';
import { findInPage, linesOf, textsOf } from './page';
import { bitsOf, findPrefix } from './prefix';

/** How many parsed devices are kept. */
const MAX_PARSED = 10_000;

const NOBODY: ReadonlySet<string> = new Set();

/** The bytes of a page that are in order, or why there are none. */
export type PageContent = { readonly bytes: Uint8Array } | { readonly error: AmeshError };

/** What is known of a page. It is the same object in each revision that names the page. */
export interface Page {
  /** The bits that its IDs begin with. */
  readonly prefix: string;
  /** The hash that names it; null for entries that the head holds itself. */
  readonly hash: string | null;
  /** Its bytes, or why there are none. */
  readonly content: PageContent;
}

/** Parsed devices of pages that an instance holds, the latest ones. */
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

/** One revision of an allow list. A page that is not there or is damaged concerns the devices on it and nobody else. */
export class PagedList implements AllowList {
  readonly deviceId: string;
  readonly hosts: readonly string[];
  /** Whether all of its pages are there and in order. */
  readonly isWhole: boolean;
  readonly #prefixes: readonly string[];
  readonly #targets: ReadonlyMap<string, string>;
  /** Grouped when somebody asks: a server never does. */
  #hosts: ReadonlyMap<string, readonly string[]> | null = null;

  /**
   * @param head whose seal was right
   * @param mark the hash that stands for the head, see {@link markOf}
   * @param pages one for each that the head names, in the same order
   * @param parsed shared by the revisions of a list
   * @param gone devices that do not count, whatever the pages say
   */
  constructor(
    readonly head: ListHead,
    readonly mark: string,
    readonly pages: readonly Page[],
    readonly parsed: ParsedDevices = new ParsedDevices(),
    readonly gone: ReadonlySet<string> = NOBODY,
  ) {
    this.deviceId = head.list;
    this.hosts = head.hosts;
    this.#prefixes = head.pages.map(({ prefix }) => prefix);
    this.#targets = new Map(head.targets);
    this.isWhole = pages.every(({ content }) => 'bytes' in content);
  }

  /**
   * @throws AmeshError `allow_list_unavailable` where the page of this device is not there;
   *   `allow_list_integrity_failure` where the page, or the entry, is of a form that this version does not know
   */
  find(deviceId: string): TrustedDevice | undefined {
    if (this.gone.has(deviceId)) return undefined;
    const page = this.pages[findPrefix(this.#prefixes, bitsOf(deviceId))] as Page;
    const known = this.parsed.get(deviceId, page);
    if (known !== undefined) return known;
    const entry = findEntry(page, deviceId);
    if (entry?.kind !== 'device') return undefined;
    const device = toTrusted(entry.device);
    this.parsed.set(deviceId, page, device);
    return device;
  }

  /** The same list, without devices that were revoked since. */
  without(revoked: readonly Tombstone[]): PagedList {
    const gone = new Set(revoked.map(({ deviceId }) => deviceId));
    return new PagedList(this.head, this.mark, this.pages, this.parsed, gone);
  }

  targetOf(authority: string): TrustedDevice | undefined {
    const deviceId = this.#targets.get(normalizeAuthority(authority) ?? '');
    return deviceId === undefined ? undefined : this.find(deviceId);
  }

  /** The entry of a device as the list has it. Throws as {@link find} does. */
  entry(deviceId: string): DeviceEntry | undefined {
    if (this.gone.has(deviceId)) return undefined;
    const entry = findEntry(this.pages[findPrefix(this.#prefixes, bitsOf(deviceId))] as Page, deviceId);
    return entry?.kind === 'device' ? this.#toDevice(entry.device) : undefined;
  }

  /** Whether the device was revoked, and its tombstone is still there. Throws as {@link find} does. */
  isRevoked(deviceId: string): boolean {
    const page = this.pages[findPrefix(this.#prefixes, bitsOf(deviceId))] as Page;
    return findEntry(page, deviceId)?.kind === 'tombstone';
  }

  /** All devices, sorted by page and ID. Throws as {@link find} does. */
  *devices(): Generator<DeviceEntry> {
    for (const page of this.pages) {
      for (const value of linesOf(bytesOf(page))) {
        const entry = readEntry(value);
        if (entry === null) throw unknownEntry();
        if (entry.kind === 'device') yield this.#toDevice(entry.device);
      }
    }
  }

  /** All lines as they are, those included that this version does not know. Throws where a page is not there. */
  *lines(): Generator<{ readonly deviceId: string; readonly line: string }> {
    for (const page of this.pages) yield* textsOf(bytesOf(page));
  }

  #toDevice(line: DeviceLine): DeviceEntry {
    this.#hosts ??= groupHosts(this.head.targets);
    return { ...line, hosts: this.#hosts.get(line.deviceId) ?? [] };
  }
}

function groupHosts(targets: ListHead['targets']): Map<string, string[]> {
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

/** What a verifier needs of an entry. Trust ends with the entry or with its lease, whichever is first. */
function toTrusted(entry: DeviceLine): TrustedDevice {
  const { deviceId, publicKey, friendlyName, roles, scopes, unconfirmed } = entry;
  const ends = [entry.expiresAt, entry.lease?.expiresAt].filter((end) => end !== undefined);
  return {
    deviceId,
    publicKey,
    friendlyName,
    roles,
    ...(ends.length > 0 && { expiresAt: Math.min(...ends) }),
    ...(scopes && { scopes }),
    ...(unconfirmed && { unconfirmed }),
  };
}
