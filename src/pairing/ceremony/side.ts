import type { Signer } from '../../core/crypto/provider';
import type { Channel } from './channel';
import type { Introduction } from './introduction';
import type { KeyShareOptions } from './key-agreement';

/** What either side needs for one ceremony. */
export interface SideOptions extends KeyShareOptions {
  /** The pairing code, six digits. */
  readonly code: string;
  readonly signer: Signer;
  /** How this device introduces itself to the peer. */
  readonly own: Introduction;
}

/** What either side has once the peer has introduced itself. */
export interface Met {
  readonly channel: Channel;
  readonly peer: Introduction;
}
