import { readEntry, type Tombstone } from '../format/entry';
import { textsOf } from '../format/page';
import type { PagedList } from '../format/paged-list';

/** A device that was revoked because its key has named two next keys. */
export type Conflict = Tombstone & {
  /** The name that it had. */
  readonly conflict: string;
};

/**
 * The devices in the readable part of the list that were revoked in the last 30 days because their keys had named two next keys.
 */
export function conflictsOf(list: PagedList): readonly Conflict[] {
  return list.pages.flatMap(({ content }) => {
    if ('error' in content) return [];
    return [...textsOf(content.bytes)].flatMap(({ line }) => {
      const entry = line.includes('"conflict":') ? readEntry(JSON.parse(line)) : null;
      if (entry?.kind !== 'tombstone') return [];
      const { conflict, ...tombstone } = entry.tombstone;
      return conflict === undefined ? [] : [{ ...tombstone, conflict }];
    });
  });
}
