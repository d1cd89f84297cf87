import type { RelayFrame } from '../wire/frames';
import type { InstanceMessage } from '../wire/instance-message';

/** What the caller of a room must do, in this order. */
export type Effect<S> =
  | { readonly type: 'send'; readonly to: S; readonly frame: RelayFrame }
  /** Close the socket after everything that was sent to it. */
  | { readonly type: 'close'; readonly to: S }
  | { readonly type: 'event'; readonly event: RoomEvent }
  | ClusterRequest
  | { readonly type: 'tell'; readonly instance: string; readonly message: InstanceMessage };

/** For log and metrics. It identifies nobody: `session` is random. */
export interface RoomEvent {
  readonly event: 'listen' | 'join' | 'message' | 'end' | 'post' | 'wait' | 'refused';
  readonly session?: string;
  readonly outcome: string;
}

/** Requests that only the cluster can decide. `Claim`, `Burn`, `Post` and `Wait` must be answered within seconds. */
export type ClusterRequest = Claim | Burn | Post | Wait | Rest | Leave | Withdraw;

/** Reserve this code for this session, unless another instance has it. */
export interface Claim {
  readonly type: 'claim';
  readonly session: string;
  readonly code: string;
  /** How many codes were tried before this one. */
  readonly tries: number;
}
export type ClaimAnswer = 'claimed' | 'taken' | 'unavailable';

/** Find the listener of this code. From now on no other client can join with the code. `attempt` identifies the answer. */
export interface Burn {
  readonly type: 'burn';
  readonly attempt: string;
  readonly code: string;
}
export type BurnAnswer =
  /** `used` without a session: the session was forgotten long ago. */
  | { readonly state: 'unknown' | 'unavailable' | 'used'; readonly session?: undefined }
  /** `instance`: where the listener is; null: at this instance. */
  | { readonly state: 'burnt' | 'used'; readonly instance: string | null; readonly session: string };

/** Put a message into a mailbox. */
export interface Post {
  readonly type: 'post';
  readonly session: string;
  readonly box: string;
  readonly body: string;
}
export type PostAnswer = 'stored' | 'delivered' | 'used' | 'unavailable';

/** Take the message out of a mailbox, or wait for it. */
export interface Wait {
  readonly type: 'wait';
  readonly session: string;
  readonly box: string;
}
export type WaitAnswer = 'waiting' | 'used' | 'unavailable' | { readonly body: string };

/** Nobody can join with this code any more. It is not issued again until it has rested. */
export interface Rest {
  readonly type: 'rest';
  readonly session: string;
  readonly code: string;
}

/** The client that waited at this mailbox has left. */
export interface Leave {
  readonly type: 'leave';
  readonly session: string;
  readonly box: string;
}

/** Remove this mailbox, whose place was given to another client. */
export interface Withdraw {
  readonly type: 'withdraw';
  readonly session: string;
  readonly box: string;
  /** The message that was posted; undefined: it has been delivered. */
  readonly body: string | undefined;
}
