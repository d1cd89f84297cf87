import type { LastSeenRecord as LastSeen } from '../trust/list/last-seen';
import type { TrustStore as Store } from '../trust/list/trust-store';

// Types only: a bundler of declarations would otherwise export a class, and this module exports none.
/** When each device last made an accepted request. */
export type LastSeenRecord = LastSeen;
/** A machine's allow list: reads, verifies, changes and seals it. */
export type TrustStore = Store;
