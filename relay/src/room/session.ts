import type { Box } from './mailboxes';
import type { State } from './states';

/** How much one side of a session has sent. */
export interface Meter {
  messages: number;
  bytes: number;
}

/** Somebody with a socket here. */
export interface Client<P> extends Meter {
  readonly peer: P;
  readonly address: string;
  state: State;
  session: Session<P> | undefined;
  box: Box<P> | undefined;
}

/** The side of a session whose socket is at another instance. */
export interface Far extends Meter {
  readonly instance: string;
}

/** A code that waits, and what becomes of it. One of the two sides may be far. */
export interface Session<P> {
  readonly id: string;
  /** Empty until it has one. */
  code: string;
  listener: Client<P> | undefined;
  joiner: Client<P> | undefined;
  far: Far | undefined;
  isRunning: boolean;
  /** Somebody else came for the code before it was known who has got it. */
  wasTried: boolean;
}

/** The clients of a session that are here. */
export function clientsOf<P>({ listener, joiner }: Session<P>): Client<P>[] {
  return [listener, joiner].filter((client) => client !== undefined);
}

/** The other side, where it is here. */
export function otherOf<P>({ listener, joiner }: Session<P>, client: Client<P>): Client<P> | undefined {
  return listener === client ? joiner : listener;
}
