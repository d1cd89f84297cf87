import type { RelayFrame } from '../wire/frames';
import type { Message } from '../wire/instance-message';

/** What the room wants to be done, in this order. */
export type Effect<P> =
  | { readonly type: 'send'; readonly to: P; readonly frame: RelayFrame }
  /** After all that was sent to it. */
  | { readonly type: 'close'; readonly to: P }
  | { readonly type: 'event'; readonly event: RoomEvent }
  | Question
  | { readonly type: 'tell'; readonly instance: string; readonly message: Message };

/** For log and metrics. Names nobody: `session` is random. */
export interface RoomEvent {
  readonly event: 'listen' | 'join' | 'message' | 'end' | 'post' | 'wait' | 'refused';
  readonly session?: string;
  readonly outcome: string;
}

/** What only all instances together can tell. Each but the last three has to get an answer, within seconds. */
export type Question = Claim | Burn | Post | Wait | Rest | Leave | Withdraw;

/** May this code be given out, for this session? */
export interface Claim {
  readonly type: 'claim';
  readonly session: string;
  readonly code: string;
  /** How many codes were asked for before. */
  readonly tries: number;
}
export type ClaimAnswer = 'claimed' | 'taken' | 'unavailable';

/** Whose is this code? From now on nobody else may join with it. `attempt` is an id for the answer. */
export interface Burn {
  readonly type: 'burn';
  readonly attempt: string;
  readonly code: string;
}
export type BurnAnswer =
  /** Used: so long ago that nobody knows any more by whom. */
  | { readonly state: 'unknown' | 'unavailable' | 'used'; readonly session?: undefined }
  /** `instance`: where its listener is; null: here. */
  | { readonly state: 'burnt' | 'used'; readonly instance: string | null; readonly session: string };

/** Puts a message into a mailbox. */
export interface Post {
  readonly type: 'post';
  readonly session: string;
  readonly box: string;
  readonly body: string;
}
export type PostAnswer = 'stored' | 'delivered' | 'used' | 'unavailable';

/** Takes the message out of a mailbox, or waits at it. */
export interface Wait {
  readonly type: 'wait';
  readonly session: string;
  readonly box: string;
}
export type WaitAnswer = 'waiting' | 'used' | 'unavailable' | { readonly body: string };

/** Nobody will join with this code any more. */
export interface Rest {
  readonly type: 'rest';
  readonly session: string;
  readonly code: string;
}

/** Nobody waits at this mailbox any more. */
export interface Leave {
  readonly type: 'leave';
  readonly session: string;
  readonly box: string;
}

/** What was put into this mailbox gives way to others. */
export interface Withdraw {
  readonly type: 'withdraw';
  readonly session: string;
  readonly box: string;
  /** Undefined: it is known to have been taken. */
  readonly body: string | undefined;
}
