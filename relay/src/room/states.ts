/*
 * The state machine of a client. Each row is one way out of a state: the event, and the state it leads to.
 *
 *   state       event                                            next state
 *   ---------   ----------------------------------------------   ----------
 *   new         frame `listen`                                   opening
 *               frame `join`                                     joining
 *               frame `wait`, the mailbox is empty               waiting
 *               frame `wait`, the mailbox holds a message        closed
 *               frame `post`                                     posting
 *               no frame for firstMessageMs                      closed
 *   opening     a free code was found                            listening
 *   listening   another client joins with the code               paired
 *               nobody joins for codeMs                          closed
 *   joining     the code is burnt for it, the listener is here   paired
 *               the same, the listener is at another instance    confirming
 *   confirming  message `joined` of that instance                paired
 *               no such message for CONFIRM_MS                   closed
 *   paired      frame `msg`                                      paired
 *               the other side goes, or sessionMs have passed    closed
 *   posting     the message is stored or delivered               closed
 *   waiting     a message comes, or sessionMs have passed        closed
 *
 * In every state, `bye`, a frame not listed for the state, and any error lead to `closed`. Only one error does not:
 * `code_used` tells a paired listener that somebody else has tried its code. Frames that come after `closed` are
 * ignored; the client is forgotten when its socket has closed.
 *
 * Without a cluster, `opening`, `joining` and `posting` last no longer than the call that leads to them. With one, they
 * last until the cluster has answered.
 *
 * Transitions are in listen-handler.ts, join-handler.ts, remote-sides.ts, forwarder.ts and mailboxes.ts; those to
 * `closed` are in context.ts and sessions.ts.
 */

/** How much one side of a session has sent. */
export interface Traffic {
  messages: number;
  bytes: number;
}

/** The state of a client, with the data that it has in this state. */
export type ClientState<S> =
  | { readonly name: 'new' | 'joining' | 'posting' | 'closed' }
  | { readonly name: 'opening' | 'listening' | 'confirming'; readonly session: Session<S> }
  | PairedState<S>
  | { readonly name: 'waiting'; readonly mailbox: Mailbox<S> };

export interface PairedState<S> {
  readonly name: 'paired';
  readonly session: Session<S>;
  readonly sent: Traffic;
}

/** A client that is connected to this instance. */
export interface Client<S> {
  readonly socket: S;
  /** What limits count by, as `toLimitKey` gives it. */
  readonly address: string;
  state: ClientState<S>;
}

/** The side of a session whose client is connected to another instance. */
export interface RemoteSide {
  readonly instance: string;
  readonly sent: Traffic;
}

/**
 * A session has a listener, then also a joiner. At most one of the two is the remote side.
 *
 * - `waiting`: the listener is here and there is no joiner yet. `wasTried`: another client has come too late for the code,
 *   before this instance knew who was first.
 * - `confirming`: the joiner is here, and the listener's instance has not answered yet.
 * - `paired`: both sides are there.
 */
export type SessionState =
  | { readonly name: 'waiting'; readonly wasTried: boolean }
  | { readonly name: 'confirming' | 'paired' };

export interface Session<S> {
  readonly id: string;
  /** The code that leads to it. Undefined until a code is found, and if the listener is remote. */
  code: string | undefined;
  listener: Client<S> | undefined;
  joiner: Client<S> | undefined;
  remote: RemoteSide | undefined;
  state: SessionState;
}

/** A client waits at the mailbox, or the mailbox holds a message, or it has had its only message. */
export type MailboxState<S> =
  | { readonly name: 'awaited'; readonly client: Client<S> }
  | { readonly name: 'full'; readonly body: string }
  | { readonly name: 'used' };

export interface Mailbox<S> {
  readonly id: string;
  readonly name: string;
  state: MailboxState<S>;
}

/** The clients of a session that are connected to this instance. */
export function clientsOf<S>({ listener, joiner }: Session<S>): Client<S>[] {
  return [listener, joiner].filter((client) => client !== undefined);
}

/** The other client of a session; undefined if it is remote, or there is none. */
export function otherClientOf<S>({ listener, joiner }: Session<S>, client: Client<S>): Client<S> | undefined {
  return listener === client ? joiner : listener;
}
