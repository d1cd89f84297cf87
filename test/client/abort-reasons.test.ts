import { createClient } from '@authmesh/sdk/core';
import { describe, expect, it } from 'vitest';
import { signerOf } from '../support/core';
import { useKnownTarget } from '../support/use-known-target';

const target = useKnownTarget();

/** Anything can be the reason of a signal, and anything can be thrown. */
const REASONS = [null, undefined, 0, '', false, 'enough', Symbol.for('enough'), new Error('enough')];

const thrownBy = (call: Promise<unknown>) =>
  call.then(
    () => expect.fail('Nothing was thrown.'),
    (thrown: unknown) => thrown,
  );

describe.each(REASONS)('a signal that is aborted with %s', (reason) => {
  it.each(['off', 'auto', 'required'] as const)(
    'ends amesh.fetch like fetch (answers: %s)',
    async (answers) => {
      const controllers: AbortController[] = [];
      const server = await target.serve({
        front: () => controllers.splice(0).map((one) => one.abort(reason)).length > 0,
      });
      const call = async (doFetch: typeof fetch, isBefore: boolean) => {
        const controller = new AbortController();
        if (isBefore) controller.abort(reason);
        else controllers.push(controller);
        return thrownBy(doFetch(server.origin, { signal: controller.signal }));
      };
      const amesh = target.callerWith({ answers });
      for (const isBefore of [true, false]) {
        const expected = await call(fetch, isBefore);
        const thrown = await call(amesh.fetch, isBefore);
        if (reason === undefined)
          expect(thrown).toMatchObject({ name: 'AbortError', message: (expected as Error).message });
        else expect([thrown, expected]).toEqual([reason, reason]);
      }
    },
  );
});

describe.each(REASONS)('a fetch of the program that rejects with %s', (reason) => {
  it('ends amesh.fetch with the same', async () => {
    const server = await target.serve();
    const amesh = target.callerWith({ fetch: () => Promise.reject(reason) });
    expect(await thrownBy(amesh.fetch(server.origin))).toBe(reason);
  });

  it('or whose response throws it, ends a client with the same', async () => {
    const client = createClient({
      signer: () => signerOf('controller'),
      fetch: async () =>
        Object.defineProperty(new Response(null, { status: 401 }), 'headers', {
          get() {
            throw reason;
          },
        }),
    });
    expect(await thrownBy(client.fetch('http://127.0.0.1/'))).toBe(reason);
  });
});
