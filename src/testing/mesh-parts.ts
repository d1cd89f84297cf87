import type { Answers } from '../core/answers/asking';
import type { TestClock } from './clock';
import type { DeviceList } from './device-list';

/** What the machine under test and its callers share. */
export interface MeshParts {
  /** The origin at which the machine is called. */
  readonly url: string;
  readonly clock: TestClock;
  readonly list: DeviceList;
  /** The `fetch` that sends to the network; undefined for the global one. */
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly answers: Answers;
  /** The public key of the machine: a compressed point, 33 bytes. */
  readonly publicKey: Uint8Array;
}
