import { AllowListIntegrityError, AmeshError } from '../../core/errors/amesh-error';
import { SERVER_CODES } from '../../core/errors/codes';
import { NEWER_AMESH } from './entry';
import { hashOf, type ListHead } from './head';
import { isPage, MAX_PAGE_BYTES, toPage } from './page';
import type { Page } from './paged-list';

/** Pages read at once: enough to keep a disk or a connection busy, and few enough to hold in memory twice. */
const BATCH = 16;

/** Reads pages by their hashes: null for a missing one. */
export type ReadPages = (hashes: readonly string[]) => Promise<readonly (Uint8Array | null)[]>;

/**
 * Loads the pages of a head. A valid page that was read before is not read again.
 *
 * @param known pages of another revision
 * @throws what `read` throws. A missing or wrong page does not throw: its content is the error
 */
export async function loadPages(head: ListHead, known: readonly Page[], read: ReadPages): Promise<Page[]> {
  const byName = new Map<string, Page>();
  for (const page of known) if (page.hash !== null && 'bytes' in page.content) byName.set(nameOf(page), page);
  const missing = head.pages
    .flatMap(({ prefix, content }) => (typeof content === 'string' ? [{ prefix, hash: content }] : []))
    .filter((page) => !byName.has(nameOf(page)));
  for (let from = 0; from < missing.length; from += BATCH) {
    const batch = missing.slice(from, from + BATCH);
    const found = await read(batch.map(({ hash }) => hash));
    for (const [i, { prefix, hash }] of batch.entries()) {
      const page = await checkPage(found[i] ?? null, hash, prefix);
      byName.set(nameOf(page), page);
    }
  }
  return head.pages.map(({ prefix, content }) =>
    typeof content === 'string'
      ? (byName.get(nameOf({ prefix, hash: content })) as Page)
      : toInlinePage(content, prefix),
  );
}

/** The name of a page includes its prefix: with another prefix, the same bytes are another page. */
function nameOf({ prefix, hash }: { readonly prefix: string; readonly hash: string | null }): string {
  return `${prefix} ${hash}`;
}

/** Checks the bytes that were read for a hash. */
export async function checkPage(bytes: Uint8Array | null, hash: string, prefix: string): Promise<Page> {
  if (bytes === null)
    return { prefix, hash, content: { error: unavailable('A page of the allow list is missing.') } };
  if (bytes.length > MAX_PAGE_BYTES || (await hashOf(bytes)) !== hash) {
    return { prefix, hash, content: { error: unavailable('A page of the allow list is damaged.') } };
  }
  return { prefix, hash, content: isPage(bytes, prefix) ? { bytes } : { error: unknownPage() } };
}

function toInlinePage(entries: readonly unknown[], prefix: string): Page {
  const bytes = toPage(entries);
  return { prefix, hash: null, content: isPage(bytes, prefix) ? { bytes } : { error: unknownPage() } };
}

function unavailable(detail: string): AmeshError {
  return new AmeshError(SERVER_CODES.allow_list_unavailable, detail, {
    fix: 'Restore the pages of the list from a backup.',
  });
}

function unknownPage(): AllowListIntegrityError {
  return new AllowListIntegrityError(
    'This version of amesh does not understand a page of the allow list.',
    NEWER_AMESH,
  );
}
