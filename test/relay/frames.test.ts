import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readFrame } from '../../relay/src/wire/frames';

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
  it.each(GOOD)('is taken: $type', (frame) => expect(read(frame)).toEqual(frame));

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
    'has no code %j',
    (code) => expect(read({ type: 'join', v: 1, code })).toEqual({ fault: 'bad_message' }),
  );

  it.each(['short', 'a'.repeat(129), 'abcdefghijklmno/', `${BOX}\n`])('has no box %j', (box) =>
    expect(read({ type: 'wait', v: 1, box })).toEqual({ fault: 'bad_message' }),
  );

  it('of another version is told so, whatever else it has', () => {
    expect(read({ type: 'listen', v: 2 })).toEqual({ fault: 'unsupported_version' });
    expect(read({ type: 'join', v: 0, pake: 'x' })).toEqual({ fault: 'unsupported_version' });
  });

  it('has 8192 bytes of body at most, as UTF-8', () => {
    expect(read({ type: 'msg', body: 'a'.repeat(8192) })).toMatchObject({ type: 'msg' });
    expect(read({ type: 'msg', body: 'a'.repeat(8193) })).toEqual({ fault: 'too_large' });
    expect(read({ type: 'msg', body: 'é'.repeat(4097) })).toEqual({ fault: 'too_large' });
  });

  it.each(['', '{', 'null', '[]', '"listen"', '1', '{"type":"__proto__"}', '{"type":"constructor"}'])(
    'is none: %s',
    (text) => expect(read(text)).toEqual({ fault: 'bad_message' }),
  );

  it('is one of the six, or a fault, whatever the text', () => {
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
      { numRuns: 3000 },
    );
  });
});
