import {
  type AllowList,
  createAllowList,
  createVerifier,
  InMemoryNonceStore,
  streamUnverifiedBody,
} from '@authmesh/sdk/core';
import type { AuthenticatedRequest } from '@authmesh/sdk/workers';
import type { Fetch } from '../../contract/servers/serve';
import { vectorAllowList } from '../../support/vectors';

let list: AllowList;
export const verifier = createVerifier({
  allowList: { current: () => list },
  nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
  [streamUnverifiedBody]: true,
  maxBodyBytes: 64 * 1_048_576,
});

let last = { bytes: 0, largest: 0, outcome: '' };

async function upload(request: Request): Promise<Response> {
  const state = { bytes: 0, largest: 0, outcome: 'reading' };
  last = state; // of an earlier one there may still be some to come
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      state.bytes += value.length;
      state.largest = Math.max(state.largest, value.length);
    }
    state.outcome = 'end';
  } catch (error) {
    state.outcome = String((error as { code?: string }).code ?? error);
  }
  return Response.json(state);
}

/**
 * Streams what is posted, and says to a GET how the last one went.
 *
 * @param protect `withAmesh()` of the runtime
 */
export function streamApp(
  protect: (handler: (request: AuthenticatedRequest) => Promise<Response>) => Fetch,
): Fetch {
  const post = protect(upload);
  return (request) => {
    list ??= createAllowList({ ...vectorAllowList, hosts: [new URL(request.url).host] });
    return request.method === 'GET' ? Response.json(last) : post(request);
  };
}
