import type { NodeRequest } from '../node/request';

/** Whether the server's requests read `rawBody`, by their prototype, which differs by version. */
const readers = new WeakMap<object, Promise<boolean>>();

/**
 * Gives the body to a request of @hono/node-server that nobody has touched: it reads `rawBody` of Node's request, if that is
 * set. A copy of the request would cost more than the whole verification.
 *
 * @returns false if this request does not read it, so that a copy is needed
 */
export async function giveRawBody(raw: Request, incoming: NodeRequest, bytes: Uint8Array): Promise<boolean> {
  if (!Buffer.isBuffer(bytes) || !isUntouched(raw, incoming)) return false;
  if (incoming.rawBody !== undefined && incoming.rawBody !== bytes) return false; // of somebody else
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
 * Takes from Node's request what nobody reads there any more, since the response needs nothing of it. The server would otherwise
 * wait for that with timers, after each request, and then take it.
 */
export function dropUnread(incoming: NodeRequest): void {
  const isRead = incoming.readableFlowing !== null || incoming.listenerCount('data') > 0;
  if (incoming.rawBody === undefined || isRead || incoming.listenerCount('readable') > 0) return;
  incoming.resume(); // its parser may not have said yet that this was all
}

/**
 * Whether a request still is what the server made of Node's request. Once somebody has read its body, or has made a complete
 * `Request` of it, it keeps that, too.
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

/** Tries it, since no version says so: with a request that is made like this one, in each way of reading a body. */
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
