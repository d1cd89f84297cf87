import type { Signer } from '../../core/crypto/provider';
import type { Channel } from './channel';
import type { Introduction } from './introduction';
import type { KeyShareOptions } from './key-agreement';

/** The options of either side of one ceremony. */
export interface SideOptions extends KeyShareOptions {
  /** The pairing code, six digits. */
  readonly code: string;
  readonly signer: Signer;
  /** The introduction of this device. */
  readonly own: Introduction;
}

/** The state of either side after the peer's introduction. */
export interface Met {
  readonly channel: Channel;
  readonly peer: Introduction;
}
