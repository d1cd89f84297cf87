import type { NodeRequest, NodeResponse } from '../node/request';

/** V8 13 is that of Node 24. */
const isNeeded = Number.parseInt(globalThis.process?.versions.v8 ?? '', 10) < 13 && !('Bun' in globalThis);

/**
 * Makes a request and a response of Express cheap to add properties to.
 *
 * Express changes the prototypes of both, and before V8 13 each property that is then added makes a new hidden class with a copy
 * of all others: 1 to 2 µs, and garbage that only a full collection finds. Behind `verify()` there are many more: our own, and
 * those of routers and parsers. An object that lost a property is a hash table, and takes them for nothing.
 */
export function loosen(request: NodeRequest, response: NodeResponse): void {
  if (!isNeeded || (request as { res?: unknown }).res !== response) return; // not Express
  putAgain(request, 'res');
  putAgain(response, 'req');
}

function putAgain(object: object, name: string): void {
  const property = Object.getOwnPropertyDescriptor(object, name);
  if (property?.configurable && property.value !== undefined && Reflect.deleteProperty(object, name))
    Object.defineProperty(object, name, property);
}
