import { AmeshError } from '../../core/errors/amesh-error';
import { parseObject } from '../../core/strict-json';
import { isDeviceId } from '../../core/wire/credentials';
import { TRUST_CODES } from '../errors/codes';
import { type DeviceEntry, type Entry, idOf, readEntry, type Tombstone, toLine, unknownEntry } from './entry';
import { hashOf, type ListHead, MAX_INLINE_ENTRIES, MAX_PAGES, MAX_RECENT, type PageRef } from './head';
import { countLines, lineInPage, linesOf, splitPage, toPage, withLines } from './page';
import { bitsOf, findPrefix, ID_BITS } from './prefix';

/** A page is split where a change leaves it with more. */
const SPLIT_AT = { lines: 512, bytes: 524_288 };

/** How long a page is kept that no head names any more: as long as a tombstone, and so as long as any reader may lag. */
export const KEEP_PAGES_SECONDS = 25 * 3600;

/** A head that can be changed, without what follows from its pages. */
export type HeadChanges = Partial<
  Pick<ListHead, 'hosts' | 'tokens' | 'grants' | 'joins' | 'targets' | 'ended'>
>;

/** What has to be written for a new revision. */
export interface Revision {
  /** Not sealed yet. */
  readonly head: ListHead;
  /** The pages that the old head did not name, by their hashes. */
  readonly write: ReadonlyMap<string, Uint8Array>;
  /** Pages that can be removed once the head is there. */
  readonly remove: readonly string[];
}

/** Gives the bytes of a page, checked; throws where it cannot. */
export type ReadPage = (hash: string, prefix: string) => Promise<Uint8Array>;

interface Part {
  readonly prefix: string;
  /** The hash under which it is stored; null where it is new, or part of the head. */
  readonly hash: string | null;
  /** Null until it is read. */
  bytes: Uint8Array | null;
  /** Lines that are put in by the ID that they begin with. */
  readonly lines: Map<string, string>;
}

/**
 * The next revision of a list while it is made: a change reads the pages of the devices that it concerns, and no other.
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
   * @param head the revision that this one follows
   * @param read gives the bytes of a page, checked; throws where it cannot
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

  /** The head as it will be, apart from its pages. */
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

  /** The entry of a device; undefined where there is none. */
  async find(deviceId: string): Promise<Entry | undefined> {
    const part = this.#partOf(deviceId);
    const line = part.lines.get(deviceId) ?? lineInPage(await this.#bytesOf(part), deviceId);
    return line === null ? undefined : readLine(line, deviceId);
  }

  /** The device with this ID; undefined where there is none, or one whose algorithm this version does not know. */
  async device(deviceId: string): Promise<DeviceEntry | undefined> {
    if (!isDeviceId(deviceId)) return undefined;
    const entry = await this.find(deviceId);
    return entry?.kind === 'device' ? { ...entry.device, hosts: hostsOf(this.head, deviceId) } : undefined;
  }

  /** The tombstone of a device that was revoked; undefined where there is none. */
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

  /** Puts a device into the list, in the place of its former entry or tombstone. */
  async put({ hosts, ...device }: DeviceEntry): Promise<void> {
    await this.#write(device.deviceId, toLine(device));
    this.#setHosts(device.deviceId, hosts);
    this.#recent = this.#recent.filter(({ deviceId }) => deviceId !== device.deviceId);
  }

  /** Puts lines of another list in, as they are there. */
  async take(lines: Iterable<{ readonly deviceId: string; readonly line: string }>): Promise<void> {
    for (const { deviceId, line } of lines) await this.#write(deviceId, line);
  }

  /** Leaves a tombstone in the place of a device. */
  async bury(tombstone: Tombstone): Promise<void> {
    await this.#write(tombstone.deviceId, toLine(tombstone));
    this.#setHosts(tombstone.deviceId, []);
    const others = this.#recent.filter(
      ({ deviceId, until }) => deviceId !== tombstone.deviceId && until > this.#nowSeconds,
    );
    this.#recent = [...others, tombstone].slice(-MAX_RECENT);
  }

  /**
   * What has to be written.
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

  #toRevision(pages: readonly PageRef[], made: ReadonlyMap<string, Uint8Array>): Revision {
    const { before } = this;
    const [named, were] = [hashesOf(pages), hashesOf(before.pages)];
    const isKept = (atSeconds: number) => atSeconds > this.#nowSeconds - KEEP_PAGES_SECONDS;
    const gone = before.dropped.filter(([hash]) => !named.has(hash));
    const fresh = [...were]
      .filter((hash) => !named.has(hash))
      .map((hash) => [hash, this.#nowSeconds] as const);
    const head: ListHead = {
      ...this.head,
      revision: before.revision + 1,
      updatedAt: this.#nowSeconds,
      pages,
      dropped: [...gone.filter(([, atSeconds]) => isKept(atSeconds)), ...fresh],
    };
    return {
      head,
      write: new Map([...made].filter(([hash]) => !were.has(hash))),
      remove: gone.filter(([, atSeconds]) => !isKept(atSeconds)).map(([hash]) => hash),
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

  /** A page with what was put into it, and without what is over. One that nothing was put into stays as it is. */
  #merge({ prefix, hash, bytes, lines }: Part): Merged {
    if (lines.size === 0) return { prefix, hash, bytes, splits: 0 };
    const merged = withLines(bytes as Uint8Array, lines);
    const over = new Map<string, string | null>();
    for (const value of linesOf(merged)) {
      const entry = readEntry(value);
      if (entry === null) continue; // another's line is not to be judged by who writes to its page
      const left = withoutEnded(entry, this.#nowSeconds);
      if (left !== entry) over.set(idOf(entry), left?.kind === 'device' ? toLine(left.device) : null);
    }
    return { prefix, hash: null, bytes: withLines(merged, over), splits: lines.size };
  }
}

/** A page as it will be. */
interface Merged {
  readonly prefix: string;
  /** Under which it is stored; null where that has to be found out. */
  readonly hash: string | null;
  /** Null where it was not read. */
  readonly bytes: Uint8Array | null;
  /** How often it may be split. */
  readonly splits: number;
}

/** A small list needs no page beside its head. One that had pages has to shrink further, so that it does not move to and fro. */
function fitsIntoHead([only, ...others]: readonly Merged[]): boolean {
  if (only === undefined || others.length > 0 || only.bytes === null) return false;
  return countLines(only.bytes) <= (only.hash === null ? MAX_INLINE_ENTRIES : MAX_INLINE_ENTRIES / 2);
}

/**
 * What is left of an entry: nothing of a tombstone that may be forgotten, and of a device whose lease is over what it is
 * besides a controller.
 *
 * @returns the same entry where nothing is over
 */
function withoutEnded(entry: Entry, nowSeconds: number): Entry | null {
  if (entry.kind === 'tombstone') return entry.tombstone.until > nowSeconds ? entry : null;
  if (entry.kind === 'foreign') return entry;
  const { lease, scopes: _, ...device } = entry.device;
  if (lease === undefined || lease.expiresAt >= nowSeconds) return entry;
  const roles = device.roles.filter((role) => role !== 'controller');
  return roles.length === 0 ? null : { kind: 'device', device: { ...device, roles } };
}

/** Once for each line that was put in: so a change of one device writes at most two pages, wherever its key falls. */
function split(page: Merged): readonly Merged[] {
  const { prefix, bytes, splits } = page;
  if (splits === 0 || bytes === null || prefix.length === ID_BITS) return [page];
  if (bytes.length <= SPLIT_AT.bytes && countLines(bytes) <= SPLIT_AT.lines) return [page];
  return splitPage(bytes, prefix).flatMap((half, bit) =>
    split({ prefix: prefix + bit, hash: null, bytes: half, splits: splits - 1 }),
  );
}

/** The authorities at which a target is called. */
export function hostsOf({ targets }: Pick<ListHead, 'targets'>, deviceId: string): readonly string[] {
  return targets.flatMap(([authority, id]) => (id === deviceId ? [authority] : []));
}

function hashesOf(pages: readonly PageRef[]): ReadonlySet<string> {
  return new Set(pages.flatMap(({ content }) => (typeof content === 'string' ? [content] : [])));
}

/** @throws AllowListIntegrityError where it is no entry, or that of another device */
function readLine(line: string, deviceId: string): Entry {
  const value = parseObject(line);
  const entry = value === null ? null : readEntry(value);
  return expectEntry(entry === null || idOf(entry) !== deviceId ? null : entry);
}

function expectEntry(entry: Entry | null): Entry {
  if (entry === null) throw unknownEntry();
  return entry;
}
