import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type RelayErrorCode, type RelayFrame, readFrame } from '../../relay/src/wire/frames';
import { readRelayFrame } from '../../src/pairing/relay/frame';
import { times } from '../support/full';

const BOX = 'abcdefghijklmnop';
const GOOD = [
  { type: 'listen', v: 1 },
  { type: 'join', v: 1, code: '123456' },
  { type: 'msg', body: 'hello' },
  { type: 'bye' },
  { type: 'post', v: 1, box: BOX, body: '' },
  { type: 'wait', v: 1, box: BOX },
] as const;

const read = (value: unknown) => readFrame(typeof value === 'string' ? value : JSON.stringify(value), 8192);

describe('a frame', () => {
  it.each(GOOD)('is accepted: $type', (frame) => expect(read(frame)).toEqual(frame));

  it.each(GOOD)('is refused with another member, or without one of its own: $type', (frame) => {
    expect(read({ ...frame, more: 1 })).toEqual({ fault: 'bad_message' });
    for (const name of Object.keys(frame)) {
      const { [name as 'type']: _, ...rest } = frame;
      expect(read(rest), name).toEqual({ fault: 'bad_message' });
    }
  });

  it.each(GOOD)('is refused with a member of another type: $type', (frame) => {
    for (const name of Object.keys(frame)) {
      for (const value of [null, true, 1.5, [], {}, ...(name === 'v' ? ['1'] : [1])]) {
        expect(read({ ...frame, [name]: value }), name).toEqual({ fault: 'bad_message' });
      }
    }
  });

  it.each(['12345', '1234567', '012345', '12345a', ' 123456', '123456\n', '１２３４５６', '+12345', ''])(
    'is refused with the code %j',
    (code) => expect(read({ type: 'join', v: 1, code })).toEqual({ fault: 'bad_message' }),
  );

  it.each(['short', 'a'.repeat(129), 'abcdefghijklmno/', `${BOX}\n`])('is refused with the box %j', (box) =>
    expect(read({ type: 'wait', v: 1, box })).toEqual({ fault: 'bad_message' }),
  );

  it('of another version gets unsupported_version, even with unknown members', () => {
    expect(read({ type: 'listen', v: 2 })).toEqual({ fault: 'unsupported_version' });
    expect(read({ type: 'join', v: 0, pake: 'x' })).toEqual({ fault: 'unsupported_version' });
  });

  it('has a body of at most 8192 bytes of UTF-8', () => {
    expect(read({ type: 'msg', body: 'a'.repeat(8192) })).toMatchObject({ type: 'msg' });
    expect(read({ type: 'msg', body: 'a'.repeat(8193) })).toEqual({ fault: 'too_large' });
    expect(read({ type: 'msg', body: 'é'.repeat(4097) })).toEqual({ fault: 'too_large' });
  });

  it.each(['', '{', 'null', '[]', '"listen"', '1', '{"type":"__proto__"}', '{"type":"constructor"}'])(
    'is refused: %s',
    (text) => expect(read(text)).toEqual({ fault: 'bad_message' }),
  );

  it('is read as one of the six, or as an error, from any text', () => {
    const almost = fc.record(
      {
        type: fc.constantFrom('listen', 'join', 'msg', 'bye', 'post', 'wait', 'toString', 'x'),
        v: fc.oneof(fc.constantFrom(1, 2, '1'), fc.anything()),
        code: fc.oneof(fc.constantFrom('123456', '000000'), fc.anything()),
        box: fc.oneof(fc.constant(BOX), fc.string()),
        body: fc.oneof(fc.string(), fc.anything()),
      },
      { requiredKeys: ['type'] },
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          almost.map((value) => JSON.stringify(value)),
        ),
        (text) => {
          const frame = readFrame(text, 8192);
          if ('fault' in frame) return;
          expect(JSON.parse(text)).toEqual(frame);
          expect(GOOD.map(({ type }) => type)).toContain(frame.type);
          const like = GOOD.find(({ type }) => type === frame.type);
          expect(Object.keys(frame).sort()).toEqual(Object.keys(like as object).sort());
        },
      ),
      { numRuns: times(600, 3000) },
    );
  });
});

describe('a frame of the relay', () => {
  const codes: Readonly<Record<RelayErrorCode, true>> = {
    bad_message: true,
    unsupported_version: true,
    code_not_found: true,
    code_used: true,
    rate_limited: true,
    capacity: true,
    too_large: true,
    session_expired: true,
    draining: true,
    unavailable: true,
  };
  const frames: Readonly<Record<Exclude<RelayFrame['type'], 'error'>, RelayFrame>> = {
    listening: { type: 'listening', code: '123456', expiresIn: 60 },
    peer: { type: 'peer' },
    msg: { type: 'msg', body: 'é\u0000\ud800' },
    peer_gone: { type: 'peer_gone' },
  };
  const errors = (Object.keys(codes) as RelayErrorCode[]).flatMap((code): RelayFrame[] => [
    { type: 'error', code },
    { type: 'error', code, retryAfter: 60 },
  ]);

  // The two packages have a definition each: docs/decisions/034-two-sides-of-the-relay.md.
  it.each([...Object.values(frames), ...errors])('is read by the client as it was sent: %j', (frame) => {
    expect(readRelayFrame(JSON.stringify(frame))).toEqual(frame);
  });
});
