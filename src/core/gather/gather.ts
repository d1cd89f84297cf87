// A signature takes up to twice as long if other code has run since the last one: the processor's caches have forgotten it. So those
// who are about to make or check one wait for each other. See docs/decisions/065-signatures-in-groups.md.

/** How many continue together at most: more would save little, and the first of them would wait longer. */
const MOST = 16;

// As they are when this module is loaded: a test with a clock that stands still replaces them later. The environment jsdom of Jest
// has no setImmediate.
const afterReading: (run: () => void) => unknown = globalThis.setImmediate ?? globalThis.setTimeout;
const { nextTick } = globalThis.process;

/** Those who continue together, directly one after another. */
interface Group {
  readonly end: Promise<void>;
  readonly release: () => void;
  size: number;
}

let requests: Group | undefined;
/** Whether the last request that was gathered had company. */
let isCrowded = false;

/**
 * For a server: waits until the event loop has read what has arrived on other connections, or until 16 requests wait. None waits
 * longer, since a server that reads faster than it verifies would have more and more of them.
 */
export function gatherRequests(): Promise<void> {
  if (requests === undefined) {
    const opened = newGroup();
    requests = opened;
    afterReading(() => releaseRequests(opened));
  }
  const group = requests;
  group.size++;
  if (group.size === MOST) releaseRequests(group);
  return group.end;
}

function releaseRequests(group: Group): void {
  if (requests !== group) return; // it was full before the turn ended
  requests = undefined;
  isCrowded = group.size > 1;
  group.release();
}

let answers: Group | undefined;

/**
 * For a server: waits for the other answers of requests that were gathered.
 *
 * @returns undefined if the last request came alone: then no other answer is expected
 */
export function gatherAnswers(): Promise<void> | undefined {
  if (!isCrowded) return undefined;
  if (answers === undefined) {
    const group = newGroup();
    answers = group;
    nextTick(() => {
      answers = undefined;
      group.release();
    });
  }
  return answers.end;
}

/** The groups that wait, the first one first. All but the last are full. */
const calls: Group[] = [];

/**
 * For a client: waits for other calls of this turn of the event loop. 16 continue in each turn, so that a thousand calls do not keep
 * it from other work.
 */
export function gatherCalls(): Promise<void> {
  let group = calls.at(-1);
  if (group === undefined || group.size === MOST) {
    group = newGroup();
    if (calls.push(group) === 1) afterReading(releaseCalls);
  }
  group.size++;
  return group.end;
}

function releaseCalls(): void {
  const group = calls.shift();
  if (calls.length > 0) afterReading(releaseCalls);
  group?.release();
}

function newGroup(): Group {
  let release!: () => void;
  const end = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { end, release, size: 0 };
}
