import {
  type AllowList,
  createAllowList,
  createVerifier,
  InMemoryNonceStore,
  streamUnverifiedBody,
} from '@authmesh/sdk/core';
import { toFetchHandler } from '../../../src/adapters/workers/handler';
import { serve } from '../../contract/servers/serve';
import { vectorAllowList } from '../../support/vectors';

let list: AllowList;
const verifier = createVerifier({
  allowList: { current: () => list },
  nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
  [streamUnverifiedBody]: true,
  maxBodyBytes: 64 * 1_048_576,
});

let last = { bytes: 0, largest: 0, outcome: '' };

const upload = toFetchHandler(
  () => verifier,
  async (request) => {
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
  },
);

/** Streams what is posted, and says to a GET how the last one went. */
export default serve((request) => {
  list ??= createAllowList({ ...vectorAllowList, hosts: [new URL(request.url).host] });
  return request.method === 'GET' ? Response.json(last) : upload(request);
});
