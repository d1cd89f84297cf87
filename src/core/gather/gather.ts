// A signature takes up to twice as long if other code has run since the last one: the processor's caches have forgotten it. So those
// who are about to make or check one wait for each other. See docs/decisions/065-verified-together.md.

/** How many continue together at most: more would save little, and the first of them would wait longer. */
const MOST = 16;

/** Those who continue together, directly one after another. */
interface Group {
  readonly end: Promise<void>;
  readonly release: () => void;
  size: number;
}

// As it is when this module is loaded: a test may replace it later with one whose clock stands still.
const { setImmediate } = globalThis;

/**
 * Whether it is that of the runtime, which has this property. It is not if fake timers were installed before this module was loaded,
 * and the environment jsdom of Jest has none. Then nobody waits for others.
 */
const isReal =
  typeof setImmediate === 'function' &&
  Symbol.for('nodejs.util.promisify.custom') in setImmediate &&
  !('clock' in setImmediate);

let requests: Group | undefined;

/**
 * For a server: verifies a request together with others that arrive in the same turn of the event loop. Afterwards each of them continues
 * by itself, as if it had come alone: what the handlers of two requests do up to their first pause is never mixed.
 *
 * @param verify called when the event loop has read what has arrived on other connections, or when 16 requests wait. None waits longer,
 *   since a server that reads faster than it verifies would have more and more of them
 */
export async function together<T>(verify: () => Promise<T>): Promise<T> {
  if (!isReal) return verify();
  requests ??= newGroup();
  const group = requests;
  group.size++;
  if (group.size === MOST) releaseRequests(group);
  const turn = new Promise<void>((resolve) => {
    setImmediate(() => {
      releaseRequests(group);
      resolve();
    });
  });
  await group.end;
  const verdict = await verify();
  await turn;
  return verdict;
}

function releaseRequests(group: Group): void {
  if (requests === group) requests = undefined;
  group.release();
}

/** The groups that wait, the first one first. All but the last are full. */
const calls: Group[] = [];
let underWay = 0;

/** Counts a call of a client, from its beginning to its end: one that is the only one waits for nobody. */
export async function counted<T>(call: () => Promise<T>): Promise<T> {
  underWay++;
  try {
    return await call();
  } finally {
    underWay--;
  }
}

/**
 * For a client: waits for other calls of this turn of the event loop, if there are others. 16 continue in each turn, so that a thousand
 * calls do not keep it from other work.
 */
export function gatherCalls(): Promise<void> | undefined {
  if (!isReal || underWay < 2) return undefined;
  let group = calls.at(-1);
  if (group === undefined || group.size === MOST) {
    group = newGroup();
    if (calls.push(group) === 1) setImmediate(releaseCalls);
  }
  group.size++;
  return group.end;
}

function releaseCalls(): void {
  const group = calls.shift();
  if (calls.length > 0) setImmediate(releaseCalls);
  group?.release();
}

function newGroup(): Group {
  let release!: () => void;
  const end = new Promise<void>((resolve) => {
    release = resolve;
  });
  return { end, release, size: 0 };
}
