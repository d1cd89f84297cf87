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

/** The groups that wait, the first one first. All but the last are full. */
const groups: Group[] = [];
let isCrowded = false;

/**
 * Waits until the event loop has read what has arrived on other connections. Then up to 16 callers continue directly one after
 * another, and the next ones after the event loop has turned again, so that a thousand callers do not keep it from other work.
 *
 * A signature takes up to twice as long if other code has run since the last one, since the processor's caches have forgotten it.
 *
 * @see docs/decisions/065-signatures-in-groups.md
 */
export function endOfTurn(): Promise<void> {
  let group = groups.at(-1);
  if (group === undefined || group.size === MOST) {
    group = newGroup();
    if (groups.push(group) === 1) setImmediate(releaseNext);
  }
  group.size++;
  return group.end;
}

function releaseNext(): void {
  const group = groups.shift() as Group; // one is left for each call
  if (groups.length > 0) setImmediate(releaseNext);
  isCrowded = group.size > 1;
  group.release();
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

function newGroup(): Group {
  let release!: () => void;
  const end = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { end, release, size: 0 };
}
