import type { NodeRequest, NodeResponse } from '../node/request';

/** Node 24 has V8 13. */
const isNeeded = Number.parseInt(globalThis.process?.versions.v8 ?? '', 10) < 13 && !('Bun' in globalThis);

/**
 * Makes a request and a response of Express cheap to add properties to.
 *
 * Express changes the prototypes of both. After that, before V8 13, each new property makes a new hidden class with a copy of all
 * others: that takes 1 to 2 µs, and leaves garbage that only a full collection finds. Behind `verify()` come many properties: our
 * own, and those of routers and parsers. An object from which a property was deleted is a hash table, where each of them is cheap.
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
