import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { times } from '../support/full';
import { Client, metric, pair, startRelay, type TestRelay } from './client';

/** How many frames are sent; AMESH_FUZZ_FRAMES for more than CI has time for. */
const FRAMES = Number(process.env.AMESH_FUZZ_FRAMES ?? times(1000, 5000, 100_000));
// The first wrong frame ends a connection, so frames after it would not be read.
const PER_CLIENT = 2;

const ERRORS = [
  'bad_message',
  'unsupported_version',
  'too_large',
  'code_not_found',
  'code_used',
  'rate_limited',
];

const almost = fc.record(
  {
    type: fc.constantFrom('listen', 'join', 'msg', 'bye', 'post', 'wait', 'peer', '__proto__'),
    v: fc.constantFrom<unknown>(1, 1, 1, 2, -0, 1e300, '1', null),
    code: fc.oneof(fc.constantFrom<unknown>('100000', '000000', 123456), fc.string()),
    box: fc.constantFrom<unknown>('abcdefghijklmnop', 'x', null),
    body: fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom<unknown>('a'.repeat(9000), [], 1)),
  },
  { requiredKeys: [] },
);
const frame = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.json(),
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  almost.map((value) => JSON.stringify(value)),
  // A good one with one character changed.
  fc
    .tuple(
      fc.constantFrom(
        '{"type":"listen","v":1}',
        '{"type":"msg","body":"a"}',
        '{"type":"join","v":1,"code":"123456"}',
      ),
      fc.nat(40),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    )
    .map(([text, at, char]) => text.slice(0, at) + char + text.slice(at + 1)),
);

let running: TestRelay;
beforeAll(async () => {
  // The pair beside lives for as long as a busy machine needs.
  const huge = { listensPerMinute: 1e6, failedJoinsPerMinute: 1e6, sessionMs: 3_600_000 };
  running = await startRelay({ limits: huge });
});
afterAll(() => running.relay.close());

it(`${FRAMES} fuzzed frames: each gets a frame of the protocol or none, a pair next to them continues, nothing is left`, async () => {
  const { port } = running;
  const [t, c] = await pair(port, { from: '127.0.0.2' });
  let clients = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { minLength: PER_CLIENT, maxLength: PER_CLIENT }), async (frames) => {
      // From many addresses, since one has not enough ports for all that close.
      const client = await Client.open(port, { from: `127.0.3.${1 + (clients++ % 200)}` });
      for (const frame of frames) client.send(frame);
      client.socket.close();
      for (const answer of await client.rest()) {
        expect(['error', 'listening', 'msg']).toContain(answer.type);
        if (answer.type === 'error') expect(ERRORS).toContain(answer.code);
      }
    }),
    { numRuns: Math.ceil(FRAMES / PER_CLIENT) },
  );
  t.send({ type: 'msg', body: 'still here' });
  expect(await c.next()).toEqual({ type: 'msg', body: 'still here' });
  await Promise.all([t.end(), c.end()]);
  for (const name of [
    'amesh_relay_sockets',
    'amesh_relay_sessions{state="listening"}',
    'amesh_relay_sessions{state="paired"}',
  ]) {
    await expect.poll(() => metric(port, name), { message: name }).toBe(0);
  }
}, 600_000);
