/** How many callers continue together at most: more would save little, and the first of them would wait longer. */
const MOST = 16;

// As they are when this module is loaded: a test with a clock that stands still replaces them later.
const { setImmediate, process } = globalThis;
const { nextTick } = process;

/** Callers that wait for the same moment. */
interface Group {
  readonly end: Promise<void>;
  readonly release: () => void;
  size: number;
}

let arriving: Group | undefined;
let isCrowded = false;

/**
 * Waits until the event loop has read what has arrived on other connections, or until 16 callers wait. Then they continue directly
 * one after another.
 *
 * A signature takes up to twice as long if other code has run since the last one, since the processor's caches have forgotten it.
 *
 * @see docs/decisions/065-signatures-in-groups.md
 */
export function endOfTurn(): Promise<void> {
  if (arriving === undefined) {
    arriving = newGroup();
    setImmediate(close, arriving);
  }
  const group = arriving;
  group.size++;
  if (group.size === MOST) close(group);
  return group.end;
}

let answering: Group | undefined;

/**
 * Waits for those who run before the next turn of the event loop, and want to wait here, too.
 *
 * @returns undefined if the last group of {@link endOfTurn} was one caller: then nobody else is expected
 */
export function endOfTick(): Promise<void> | undefined {
  if (!isCrowded) return undefined;
  if (answering === undefined) {
    const group = newGroup();
    answering = group;
    nextTick(() => {
      answering = undefined;
      group.release();
    });
  }
  return answering.end;
}

function close(group: Group): void {
  if (arriving !== group) return; // it was full before the turn ended
  arriving = undefined;
  isCrowded = group.size > 1;
  group.release();
}

function newGroup(): Group {
  let release!: () => void;
  const end = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { end, release, size: 0 };
}
