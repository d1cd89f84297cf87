import { Socket } from 'node:net';
import { attached } from '../../../core/attached';
import { isHttp2Response } from '../request';
import { answerIsSent, keepForAnswer } from './ending-connection';
import { readEnd, readWrite } from './written';

/** Whether the end of a response is still held back, or was released after it had been held back. */
const ends = attached<'held' | 'released'>();

/** The step in which a response was ended. */
const steps = attached<number>();
let step = 0;
let isStepCounted = false;

/** A number that changes when Node runs what `process.nextTick()` has put off. In plain Node a short answer is sent by then. */
function currentStep(): number {
  if (!isStepCounted) {
    isStepCounted = true;
    process.nextTick(() => {
      isStepCounted = false;
      step++;
    });
  }
  return step;
}

interface Response {
  finished: boolean;
  readonly socket?: unknown;
  readonly req?: { readonly socket?: unknown };
}

/**
 * Until its bytes are released, an answer looks as if Node had taken its end. Properties of the response hide what Node itself
 * says. They stay, because deleting one would make every later access to the response slow.
 */
export function markEnded(response: Response): void {
  ends.set(response, 'held');
  if (isHttp2Response(response)) {
    Object.defineProperties(response, ENDED_HTTP2);
    return;
  }
  steps.set(response, currentStep());
  Object.defineProperties(response, ENDED_HTTP1);
  response.finished = true;
  const socket = socketOf(response);
  if (socket instanceof Socket) keepForAnswer(socket);
}

/** Makes the response show again what Node says. Call it before the end is released. */
export function unmarkEnded(response: Response): void {
  ends.set(response, 'released');
  if (isHttp2Response(response)) return;
  response.finished = false;
  const socket = socketOf(response);
  if (socket instanceof Socket) answerIsSent(socket);
}

/** A response gets its connection only when those before it on the same connection are sent. */
function socketOf({ req, socket }: Response): unknown {
  return req?.socket ?? socket;
}

/**
 * What a response shows until its end is released. All responses share the getters: if each had its own, each would also have a
 * hidden class of its own, and every access to it would be slow.
 */
const ENDED_HTTP1 = untilReleased({ writableFinished: false });
const ENDED_HTTP2 = untilReleased({ finished: true, writableEnded: true });

function untilReleased(shown: Readonly<Record<string, boolean>>): PropertyDescriptorMap {
  const descriptors = Object.entries(shown).map(([name, value]) => ({
    [name]: {
      configurable: true,
      get(this: object) {
        return ends.get(this) === 'held' ? value : Reflect.get(Object.getPrototypeOf(this), name, this);
      },
    },
  }));
  return Object.assign({}, ...descriptors);
}

/** What Node does with a write after the end. */
export function writeLate(response: object, args: unknown[]): boolean {
  const callback = readWrite(args)?.callback;
  if (mayFail(response)) return Object.getPrototypeOf(response).write.apply(response, args);
  if (callback !== undefined) process.nextTick(callback, writeAfterEnd());
  return false;
}

/** What Node does with another end. */
export function endLate(response: object, args: unknown[]): void {
  const written = readEnd(args);
  const callback = written?.callback;
  const isHttp2 = isHttp2Response(response);
  if (mayFail(response) || (!isHttp2 && written?.bytes.length === 0))
    Object.getPrototypeOf(response).end.apply(response, args);
  else if (callback !== undefined) process.nextTick(callback, ...(isHttp2 ? [] : [writeAfterEnd()]));
}

/**
 * Whether Node emits `error` for bytes after the end. It does not once the answer is sent, and a program without a listener would
 * crash.
 */
function mayFail(response: object): boolean {
  return !isHttp2Response(response) && steps.get(response) === currentStep();
}

function writeAfterEnd(): Error {
  return Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' });
}
