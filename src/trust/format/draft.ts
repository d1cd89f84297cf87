import { AmeshError } from '../../core/errors/amesh-error';
import { parseObject } from '../../core/strict-json';
import { isDeviceId } from '../../core/wire/credentials';
import { TRUST_CODES } from '../errors/codes';
import { withoutEnded } from './ended';
import { type DeviceEntry, type Entry, idOf, readEntry, type Tombstone, toLine, unknownEntry } from './entry';
import { hashOf, type ListHead, MAX_INLINE_ENTRIES, MAX_PAGES, MAX_RECENT, type PageRef } from './head';
import { countLines, lineInPage, linesOf, splitPage, toPage, withLines } from './page';
import { bitsOf, findPrefix, ID_BITS } from './prefix';

/** If a change makes a page larger than this, it splits the page. */
const SPLIT_AT = { lines: 512, bytes: 524_288 };

/**
 * How long a page is kept after the last head that names it: as long as a tombstone, so that a reader that is behind still finds
 * it.
 */
export const KEEP_PAGES_SECONDS = 25 * 3600;

/**
 * How many such pages are kept: as many as the longest list has. Leases can change a list several times a second; without a limit,
 * the head would be full after some hours.
 */
const MAX_DROPPED = MAX_PAGES;

/** Members of a head that a change sets itself. The others follow from the entries and pages. */
export type HeadChanges = Partial<
  Pick<ListHead, 'was' | 'succession' | 'hosts' | 'tokens' | 'grants' | 'joins' | 'targets' | 'ended'>
>;

/** What to write for a new revision. */
export interface Revision {
  /** Not sealed yet. */
  readonly head: ListHead;
  /** The pages that the old head does not name, by their hashes. */
  readonly write: ReadonlyMap<string, Uint8Array>;
  /** The hashes of pages that can be removed after the head is written. */
  readonly remove: readonly string[];
}

/** Reads a page and checks it. Throws if the page is missing or wrong. */
export type ReadPage = (hash: string, prefix: string) => Promise<Uint8Array>;

interface Part {
  readonly prefix: string;
  /** The hash of the page in the store; null if the page is new, or part of the head. */
  readonly hash: string | null;
  /** Null until it is read. */
  bytes: Uint8Array | null;
  /** New lines, by the ID that they begin with. */
  readonly lines: Map<string, string>;
}

/**
 * The next revision of a list while it is made. A change reads only the pages of the devices that it concerns.
 */
export class ListDraft {
  readonly before: ListHead;
  readonly #read: ReadPage;
  readonly #parts: readonly Part[];
  readonly #prefixes: readonly string[];
  readonly #nowSeconds: number;
  #recent: readonly Tombstone[];
  #changes: HeadChanges = {};

  /**
   * @param head the revision before this one
   * @param read see {@link ReadPage}
   */
  constructor(head: ListHead, read: ReadPage, nowSeconds: number) {
    this.before = head;
    this.#read = read;
    this.#nowSeconds = nowSeconds;
    this.#recent = head.recent;
    this.#parts = head.pages.map(({ prefix, content }) =>
      typeof content === 'string'
        ? { prefix, hash: content, bytes: null, lines: new Map() }
        : { prefix, hash: null, bytes: toPage(content), lines: new Map() },
    );
    this.#prefixes = head.pages.map(({ prefix }) => prefix);
  }

  /** The new head, without its pages. */
  get head(): Omit<ListHead, 'pages' | 'dropped'> {
    return { ...this.before, ...this.#changes, recent: this.#recent };
  }

  get isChanged(): boolean {
    return Object.keys(this.#changes).length > 0 || this.#parts.some(({ lines }) => lines.size > 0);
  }

  /** Sets members of the head. */
  change(changes: HeadChanges): void {
    this.#changes = { ...this.#changes, ...changes };
  }

  /** The entry of a device; undefined if there is none. */
  async find(deviceId: string): Promise<Entry | undefined> {
    const part = this.#partOf(deviceId);
    const line = part.lines.get(deviceId) ?? lineInPage(await this.#bytesOf(part), deviceId);
    return line === null ? undefined : readLine(line, deviceId);
  }

  /** The device with this ID; undefined if there is none, or if this version does not know its algorithm. */
  async device(deviceId: string): Promise<DeviceEntry | undefined> {
    if (!isDeviceId(deviceId)) return undefined;
    const entry = await this.find(deviceId);
    return entry?.kind === 'device' ? { ...entry.device, hosts: hostsOf(this.head, deviceId) } : undefined;
  }

  /** The tombstone of a revoked device; undefined if there is none. */
  async tombstone(deviceId: string): Promise<Tombstone | undefined> {
    if (!isDeviceId(deviceId)) return undefined;
    const entry = await this.find(deviceId);
    return entry?.kind === 'tombstone' ? entry.tombstone : undefined;
  }

  /** All devices, page by page. It reads the whole list. */
  async *devices(): AsyncGenerator<DeviceEntry> {
    for (const part of [...this.#parts]) {
      for (const value of linesOf(withLines(await this.#bytesOf(part), part.lines))) {
        const entry = expectEntry(readEntry(value));
        if (entry.kind === 'device')
          yield { ...entry.device, hosts: hostsOf(this.head, entry.device.deviceId) };
      }
    }
  }

  /** Adds a device, or replaces its entry or tombstone. */
  async put({ hosts, ...device }: DeviceEntry): Promise<void> {
    await this.#write(device.deviceId, toLine(device));
    this.#setHosts(device.deviceId, hosts);
    this.#recent = this.#recent.filter(({ deviceId }) => deviceId !== device.deviceId);
  }

  /** Adds lines of another list, unchanged. */
  async take(lines: Iterable<{ readonly deviceId: string; readonly line: string }>): Promise<void> {
    for (const { deviceId, line } of lines) await this.#write(deviceId, line);
  }

  /** Replaces the entry of a device with a tombstone. */
  async bury(tombstone: Tombstone): Promise<void> {
    await this.#write(tombstone.deviceId, toLine(tombstone));
    this.#setHosts(tombstone.deviceId, []);
    const others = this.#recent.filter(
      ({ deviceId, until }) => deviceId !== tombstone.deviceId && until > this.#nowSeconds,
    );
    const { conflict: _, ...recent } = tombstone;
    this.#recent = [...others, recent].slice(-MAX_RECENT);
  }

  /**
   * What to write for the new revision.
   *
   * @throws AmeshError `list_full`
   */
  async finish(): Promise<Revision> {
    const pages = new Map<string, Uint8Array>();
    const refs: PageRef[] = [];
    const parts = this.#parts.map((part) => this.#merge(part));
    const isInline = fitsIntoHead(parts);
    for (const { prefix, hash, bytes } of isInline ? parts : parts.flatMap(split)) {
      if (isInline) refs.push({ prefix, content: [...linesOf(bytes as Uint8Array)] });
      else if (hash !== null) refs.push({ prefix, content: hash });
      else {
        const content = await hashOf(bytes as Uint8Array);
        pages.set(content, bytes as Uint8Array);
        refs.push({ prefix, content });
      }
    }
    if (refs.length > MAX_PAGES) throw new AmeshError(TRUST_CODES.list_full);
    return this.#toRevision(refs, pages);
  }

  #toRevision(pages: readonly PageRef[], newPages: ReadonlyMap<string, Uint8Array>): Revision {
    const { before } = this;
    const [namedNow, namedBefore] = [hashesOf(pages), hashesOf(before.pages)];
    const isKept = (atSeconds: number) => atSeconds > this.#nowSeconds - KEEP_PAGES_SECONDS;
    const droppedBefore = before.dropped.filter(([hash]) => !namedNow.has(hash));
    const droppedNow = [...namedBefore]
      .filter((hash) => !namedNow.has(hash))
      .map((hash) => [hash, this.#nowSeconds] as const);
    const kept = droppedBefore.filter(([, atSeconds]) => isKept(atSeconds));
    const dropped = [...kept, ...droppedNow].slice(-MAX_DROPPED);
    const stays = new Set(dropped.map(([hash]) => hash));
    return {
      head: { ...this.head, revision: before.revision + 1, updatedAt: this.#nowSeconds, pages, dropped },
      write: new Map([...newPages].filter(([hash]) => !namedBefore.has(hash))),
      remove: droppedBefore.map(([hash]) => hash).filter((hash) => !stays.has(hash)),
    };
  }

  async #write(deviceId: string, line: string): Promise<void> {
    const part = this.#partOf(deviceId);
    const before = lineInPage(await this.#bytesOf(part), deviceId);
    if (before === line) part.lines.delete(deviceId);
    else part.lines.set(deviceId, line);
  }

  #setHosts(deviceId: string, hosts: readonly string[]): void {
    const { targets } = this.head;
    const others = targets.filter(([authority, id]) => id !== deviceId && !hosts.includes(authority));
    const own = hosts.map((authority) => [authority, deviceId] as const);
    const next = [...others, ...own].sort(([a], [b]) => (a < b ? -1 : 1));
    const isSame =
      next.length === targets.length &&
      next.every(([authority, id], i) => targets[i]?.[0] === authority && targets[i]?.[1] === id);
    if (!isSame) this.change({ targets: next });
  }

  #partOf(deviceId: string): Part {
    return this.#parts[findPrefix(this.#prefixes, bitsOf(deviceId))] as Part;
  }

  async #bytesOf(part: Part): Promise<Uint8Array> {
    part.bytes ??= await this.#read(part.hash as string, part.prefix);
    return part.bytes;
  }

  /** A page with its new lines, without tombstones and leases that have ended. Without new lines, the page stays as it is. */
  #merge({ prefix, hash, bytes, lines }: Part): Merged {
    if (lines.size === 0) return { prefix, hash, bytes, splits: 0 };
    const merged = withLines(bytes as Uint8Array, lines);
    const ended = new Map<string, string | null>();
    for (const value of linesOf(merged)) {
      const entry = readEntry(value);
      if (entry === null) continue; // an unknown line must not stop a change of another device
      const left = withoutEnded(entry, this.#nowSeconds);
      if (left !== entry) ended.set(idOf(entry), left?.kind === 'device' ? toLine(left.device) : null);
    }
    return { prefix, hash: null, bytes: withLines(merged, ended), splits: lines.size };
  }
}

/** A page of the new revision. */
interface Merged {
  readonly prefix: string;
  /** Its hash in the store; null if its bytes are new. */
  readonly hash: string | null;
  /** Null if it was not read. */
  readonly bytes: Uint8Array | null;
  /** How many times it may be split. */
  readonly splits: number;
}

/** A small list is part of its head. A list with pages must shrink further to move back, so that it does not alternate. */
function fitsIntoHead([only, ...others]: readonly Merged[]): boolean {
  if (only === undefined || others.length > 0 || only.bytes === null) return false;
  return countLines(only.bytes) <= (only.hash === null ? MAX_INLINE_ENTRIES : MAX_INLINE_ENTRIES / 2);
}

/** Splits at most once for each new line, so a change of one device writes at most two pages, whatever its ID. */
function split(page: Merged): readonly Merged[] {
  const { prefix, bytes, splits } = page;
  if (splits === 0 || bytes === null || prefix.length === ID_BITS) return [page];
  if (bytes.length <= SPLIT_AT.bytes && countLines(bytes) <= SPLIT_AT.lines) return [page];
  return splitPage(bytes, prefix).flatMap((half, bit) =>
    split({ prefix: prefix + bit, hash: null, bytes: half, splits: splits - 1 }),
  );
}

/** The authorities under which a target is called. */
export function hostsOf({ targets }: Pick<ListHead, 'targets'>, deviceId: string): readonly string[] {
  return targets.flatMap(([authority, id]) => (id === deviceId ? [authority] : []));
}

function hashesOf(pages: readonly PageRef[]): ReadonlySet<string> {
  const hashes = new Set<string>();
  for (const { content } of pages) if (typeof content === 'string') hashes.add(content);
  return hashes;
}

/** @throws AllowListIntegrityError if it is not an entry, or belongs to another device */
function readLine(line: string, deviceId: string): Entry {
  const value = parseObject(line);
  const entry = value === null ? null : readEntry(value);
  return expectEntry(entry === null || idOf(entry) !== deviceId ? null : entry);
}

function expectEntry(entry: Entry | null): Entry {
  if (entry === null) throw unknownEntry();
  return entry;
}
