import type { LastSeenRecord as LastSeen } from '../trust/list/last-seen';
import type { TrustStore as Store } from '../trust/list/trust-store';

// As types alone: what bundles the declarations would export a class, which this module does not have.
/** When each device was last let in. */
export type LastSeenRecord = LastSeen;
/** The allow list of a machine: reads, checks, changes and seals it. */
export type TrustStore = Store;
