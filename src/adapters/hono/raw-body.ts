import type { NodeRequest } from '../node/request';

/** Whether the requests of a server read `rawBody`, by their prototype: each version of the server has its own. */
const readers = new WeakMap<object, Promise<boolean>>();

/**
 * Gives the body to a request of @hono/node-server that nobody has touched: such a request reads `rawBody` of Node's request, if
 * that is set. Copying the request would cost more than verifying it.
 *
 * @returns false if this request does not read `rawBody`, so that a copy is needed
 */
export async function giveRawBody(raw: Request, incoming: NodeRequest, bytes: Uint8Array): Promise<boolean> {
  if (!Buffer.isBuffer(bytes) || !isUntouched(raw, incoming)) return false;
  if (incoming.rawBody !== undefined && incoming.rawBody !== bytes) return false; // somebody else has set it
  const prototype = Object.getPrototypeOf(raw);
  let reads = readers.get(prototype);
  if (reads === undefined) {
    reads = readsRawBody(raw, incoming);
    readers.set(prototype, reads);
  }
  if (!(await reads)) return false;
  (incoming as { rawBody?: Uint8Array }).rawBody = bytes;
  return true;
}

/**
 * Reads from Node's request what nobody else will read, since the response needs nothing of it. Otherwise the server would wait for
 * that with timers after each request, and then read it itself.
 */
export function dropUnread(incoming: NodeRequest): void {
  const isRead = incoming.readableFlowing !== null || incoming.listenerCount('data') > 0;
  if (incoming.rawBody === undefined || isRead || incoming.listenerCount('readable') > 0) return;
  incoming.resume(); // the parser may not have reported the end yet
}

/**
 * Whether a request is still as the server made it from Node's request. Once somebody has read its body, or has needed a complete
 * `Request`, it also holds that.
 */
function isUntouched(raw: Request, incoming: NodeRequest): boolean {
  const kept = valuesOf(raw);
  return kept.includes(incoming) && kept.every((value) => value === incoming || isHarmless(value));
}

function valuesOf(raw: Request): unknown[] {
  return Reflect.ownKeys(raw).map((key) => (raw as unknown as Record<PropertyKey, unknown>)[key]);
}

function isHarmless(value: unknown): boolean {
  return (
    value === undefined ||
    typeof value === 'string' ||
    value instanceof Headers ||
    value instanceof AbortController
  );
}

const SAMPLE = '{"a":1}';

/** Finds out by a test, since no property says so: it makes a request like this one, and reads the body in each way. */
async function readsRawBody(raw: Request, incoming: NodeRequest): Promise<boolean> {
  const other = { method: 'POST', url: '/', headers: {}, rawHeaders: [], rawBody: Buffer.from(SAMPLE) };
  const sample = (): Request => {
    const request = Object.create(Object.getPrototypeOf(raw));
    for (const key of Reflect.ownKeys(raw)) {
      const value = (raw as unknown as Record<PropertyKey, unknown>)[key];
      if (typeof value === 'string') request[key] = value;
      else if (value === incoming) request[key] = other;
    }
    return request;
  };
  try {
    const texts = await Promise.all([
      sample().text(),
      sample().clone().text(),
      new Response(sample().body).text(),
      sample()
        .arrayBuffer()
        .then((bytes) => Buffer.from(bytes).toString()),
    ]);
    return texts.every((text) => text === SAMPLE);
  } catch {
    return false;
  }
}
