/*
 * A client of the relay is in one of these states:
 *
 *   new ──listen──▶ listening ──somebody joins──▶ paired ──bye, or the other goes──▶ over
 *    ├───join, with a code that waits ──────────▶ paired
 *    ├───wait──▶ waiting ──its message comes──▶ over
 *    ├───post──▶ over
 *    └───nothing for firstMessageMs──▶ over
 *
 * Where instances share their codes, others have to be asked first, and the client is in between meanwhile:
 *
 *   new ──listen──▶ opening ──nobody else has the code──▶ listening
 *    ├───join──▶ joining ──it was burnt for us──▶ paired, or where the listener is at another instance,
 *    │                                            joining ──joined──▶ paired
 *    └───post──▶ posting ──it is stored, or taken──▶ over
 *
 * Any error leads to `over`, from everywhere, with one exception: a listener that is told `code_used`, because somebody
 * else has tried its code, stays where it is. In `over` nothing is heard any more; the client is forgotten when its
 * socket has closed. A session lasts sessionMs from the join, a code codeMs, a mailbox sessionMs.
 *
 * What leads from one to the next is in listening.ts, joining.ts, far-sides.ts, passing.ts and mailboxes.ts; what leads
 * to `over` in hall.ts and sessions.ts.
 */
import type { ClientFrame } from '../wire/frames';

export type State = 'new' | 'opening' | 'listening' | 'joining' | 'paired' | 'posting' | 'waiting' | 'over';

/** In which state each frame may come; null: in any. */
export const STATE_FOR: Readonly<Record<ClientFrame['type'], State | null>> = {
  listen: 'new',
  join: 'new',
  wait: 'new',
  post: 'new',
  msg: 'paired',
  bye: null,
};
