import type { ListDraft as Draft } from '../trust/format/draft';
import type { PagedList as List, ParsedDevices as Parsed } from '../trust/format/paged-list';
import type { LastSeenRecord as LastSeen } from '../trust/list/last-seen';
import type { ListStore as Store } from '../trust/list/list-store';

// Aliases of types: otherwise a bundler of declarations would export the classes, and this module must not export any.
/** When each device last made an accepted request. */
export type LastSeenRecord = LastSeen;
/** The next revision of an allow list while it is made. */
export type ListDraft = Draft;
/** The allow list of a machine: reads, checks, changes and seals it. */
export type ListStore = Store;
/** One revision of an allow list. */
export type PagedList = List;
/** A cache of the devices of a list that were looked up last. */
export type ParsedDevices = Parsed;
