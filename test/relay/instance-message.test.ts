import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Envelope, readEnvelope, writeEnvelope } from '../../relay/src/wire/instance-message';
import { times } from '../support/full';

const from = '11111111-2222-4333-8444-555555555555';
const session = 'aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee';
const GOOD: Envelope['message'][] = [
  ...(['join', 'joined', 'gone', 'expired', 'tried'] as const).map((type) => ({ type, session })),
  { type: 'msg', session, number: 1, body: 'é\u0000\ud800' },
  { type: 'mail', session, body: '' },
];

describe('a message between instances', () => {
  it.each(GOOD)('is read as it was written: $type', (message) => {
    expect(readEnvelope(writeEnvelope({ from, message }), 8192)).toEqual({ from, message });
  });

  it.each(GOOD)(
    'is ignored with another member, without one of its own, or with one of another type: $type',
    (message) => {
      const envelope = { ...message, from };
      expect(readEnvelope(JSON.stringify({ ...envelope, more: 1 }), 8192)).toBeNull();
      for (const name of Object.keys(envelope)) {
        const { [name as 'type']: _, ...rest } = envelope;
        expect(readEnvelope(JSON.stringify(rest), 8192), name).toBeNull();
        for (const value of [null, true, 1.5, -1, 0, 'x'.repeat(8193), [], {}]) {
          expect(readEnvelope(JSON.stringify({ ...envelope, [name]: value }), 8192), name).toBeNull();
        }
      }
    },
  );

  it('is read from any text as a valid one, or not at all', () => {
    const almost = fc.record(
      {
        type: fc.constantFrom('join', 'msg', 'mail', '__proto__', 'toString'),
        from: fc.oneof(fc.constant(from), fc.string()),
        session: fc.oneof(fc.constant(session), fc.anything()),
        number: fc.oneof(fc.integer(), fc.anything()),
        body: fc.oneof(fc.string(), fc.anything()),
      },
      { requiredKeys: ['type'] },
    );
    const texts = fc.oneof(
      fc.string(),
      fc.json(),
      almost.map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(texts, (text) => {
        const envelope = readEnvelope(text, 8192);
        if (envelope !== null) expect(readEnvelope(writeEnvelope(envelope), 8192)).toEqual(envelope);
      }),
      { numRuns: times(600, 3000) },
    );
  });
});
