import type { Answers } from '../core/answers/asking';
import type { TestClock } from './clock';
import type { DeviceList } from './device-list';

/** What the machine under test and its callers share. */
export interface MeshParts {
  /** The origin at which the machine is called. */
  readonly url: string;
  readonly clock: TestClock;
  readonly list: DeviceList;
  /** Sends to the network; undefined: the global one. */
  readonly fetch: typeof globalThis.fetch | undefined;
  readonly answers: Answers;
  /** The compressed point of the machine, 33 bytes. */
  readonly publicKey: Uint8Array;
}
