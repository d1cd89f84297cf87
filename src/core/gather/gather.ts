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
/** Whether the last request that arrived was not the only one. */
let isBusy = false;

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
  if (isLate()) signNow();
  return verdict;
}

function releaseRequests(group: Group): void {
  if (requests === group) {
    requests = undefined;
    isBusy = group.size > 1;
  }
  group.release();
}

/** An answer that is complete, but neither signed nor sent. Neither method throws. */
export interface WaitingAnswer {
  sign(): void;
  send(): void;
}

/** After this time, no answer waits for the handler of another request, in milliseconds. */
const LATE_MS = 1;

const answers: WaitingAnswer[] = [];
const signed: WaitingAnswer[] = [];
let oldestMs = 0;
let isTurnAsked = false;

/**
 * For a server: signs an answer together with others of this turn of the event loop, 16 at most, and then sends one after another. If
 * requests arrive one at a time, it does not wait.
 */
export function signTogether(answer: WaitingAnswer): void {
  const count = answers.push(answer);
  if (count === 1) oldestMs = performance.now();
  if (isAlone(count) || count === MOST || isLate() || isProcessEnding()) {
    signNow();
    return;
  }
  if (isTurnAsked) return;
  isTurnAsked = true;
  setImmediate(onTurn);
  process.on('exit', signNow);
}

/** Like {@link signTogether}, for an answer that can wait for a promise. */
export function turnToSign(): Promise<void> | undefined {
  if (isAlone(answers.length + 1)) return undefined;
  return new Promise((resolve) => signTogether({ sign: resolve, send() {} }));
}

/**
 * Signs and sends the answers that wait, before something happens that must not come before them.
 *
 * Code of the program can run while an answer is sent, and can call this again: by closing the server, for example. Then the inner call
 * sends the others.
 */
export function signNow(): void {
  for (let answer = answers.shift(); answer !== undefined; answer = answers.shift()) {
    answer.sign();
    signed.push(answer);
  }
  for (let answer = signed.shift(); answer !== undefined; answer = signed.shift()) answer.send();
}

function onTurn(): void {
  isTurnAsked = false;
  process.off('exit', signNow); // a program may load this module many times, as when it reloads its code
  signNow();
}

/** @param count how many answers wait, this one included */
function isAlone(count: number): boolean {
  return !isReal || (!isBusy && count === 1);
}

/** Whether listeners to the end of the process run. No further turn of the event loop comes then, and no new listener is called. */
function isProcessEnding(): boolean {
  return (process as { readonly _exiting?: boolean })._exiting === true;
}

function isLate(): boolean {
  return answers.length > 0 && performance.now() - oldestMs > LATE_MS;
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
