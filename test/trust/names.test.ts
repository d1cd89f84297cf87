import { cleanName } from '@authmesh/sdk/admin';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { uniqueName } from '../../src/trust/names';

const lengthOf = (text: string) => [...text].length;

/** Strings with more of what is dangerous in a name than chance would give. */
const hostile = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'grapheme' }),
      fc.constantFrom(
        ...['\x1b[31m', '\x1b]0;title\x07', '\x1b', '\x9b2J', '\u202e', '\u2066', '\u200b', '\ufeff'],
        ...[
          '\0',
          '\r\n',
          '\t',
          ' ',
          'am_',
          'AM_',
          '\ud800',
          '\udc00',
          '\u2028',
          '\u3164',
          '\u2800',
          '\ufe0f',
          'e\u0301',
        ],
      ),
    ),
    { maxLength: 20 },
  )
  .map((parts) => parts.join(''));

describe('cleanName', () => {
  it.each([
    ['prod-api', 'prod-api'],
    ['  Alice’s  laptop ', 'Alice’s laptop'],
    ['été', 'été'],
    ['e\u0301te\u0301', 'été'],
    ['日本語のサーバー', '日本語のサーバー'],
    ['🦊', '🦊'],
    ['two\nlines\tand a tab', 'two lines and a tab'],
    ['\x1b[31mred\x1b[0m', 'red'],
    ['\x1b]0;title\x07name', 'name'],
    ['\x9b2Jcleared', 'cleared'],
    ['user\u202etxt.exe', 'usertxt.exe'],
    ['zero\u200bwidth', 'zerowidth'],
    ['blank\u3164', 'blank'],
    ['alice\u2800', 'alice'],
    ['\u2800', 'unnamed'],
    ['nul\0', 'nul'],
    ['half \ud800', 'half \ufffd'],
    ['am_cOixWcOdI8-pLh4P', 'device am_cOixWcOdI8-pLh4P'],
    ['AM_x', 'device AM_x'],
    ['\u200bam_x', 'device am_x'],
    [' am_x', 'device am_x'],
    ['', 'unnamed'],
    ['\u202e\x1b[0m \u3164', 'unnamed'],
    ['x'.repeat(100), 'x'.repeat(64)],
    ['🦊'.repeat(100), '🦊'.repeat(64)],
  ])('makes %j into %j', (name, expected) => {
    expect(cleanName(name)).toBe(expected);
  });

  it('gives a name of 1 to 64 code points, on one line, that shows all that it is and is never like an id', () => {
    fc.assert(
      fc.property(hostile, (name) => {
        const clean = cleanName(name);
        expect(lengthOf(clean)).toBeGreaterThan(0);
        expect(lengthOf(clean)).toBeLessThanOrEqual(64);
        expect(clean.isWellFormed()).toBe(true);
        expect(clean).not.toMatch(/[\p{C}\p{Default_Ignorable_Code_Point}\p{Zl}\p{Zp}\u2800]/u);
        expect(clean).not.toMatch(/^am_/i);
        expect(clean).toBe(clean.trim());
        expect(clean).toBe(clean.normalize('NFC'));
      }),
      { numRuns: 2000 },
    );
  });

  it('changes a clean name no further', () => {
    fc.assert(
      fc.property(hostile, (name) => {
        expect(cleanName(cleanName(name))).toBe(cleanName(name));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('uniqueName', () => {
  it.each([
    ['api', [], 'api'],
    ['api', ['web'], 'api'],
    ['api', ['api'], 'api-2'],
    ['API', ['api', 'Api-2'], 'API-3'],
    ['x'.repeat(64), ['x'.repeat(64)], `${'x'.repeat(62)}-2`],
    ['🦊'.repeat(64), ['🦊'.repeat(64)], `${'🦊'.repeat(62)}-2`],
  ])('makes %j beside %j into %j', (name, taken, expected) => {
    expect(uniqueName(name, taken)).toBe(expected);
  });

  const named = (numbers: Iterable<number>) => ['web', ...Array.from(numbers, (number) => `web-${number}`)];
  const upTo = (last: number, first = 2) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

  it.each([
    ['the gap that somebody has left', [...upTo(40), ...upTo(64, 42)], 'web-41'],
    ['the last of the small ones', upTo(63), 'web-64'],
    ['the next one, where all of them are taken', upTo(64), 'web-65'],
    ['the next one, of very many', upTo(1000), 'web-1001'],
    ['one that is free, where those to come are taken, too', [...upTo(64), ...upTo(400, 66)], 'web-401'],
  ])('takes %s', (_, numbers, expected) => {
    expect(uniqueName('web', named(numbers))).toBe(expected);
  });

  it('tries a few names beside 100,000 of one name, not all that are taken', () => {
    const taken = named(upTo(100_000));
    const joined = vi.spyOn(Array.prototype, 'join'); // each name that is tried is put together
    const unique = uniqueName('Web', taken);
    const tried = joined.mock.calls.length;
    joined.mockRestore();
    expect(unique).toBe('Web-100001');
    expect(tried).toBeLessThan(1000);
  });

  it('gives what nobody else has, whatever the case, and stays clean', () => {
    const few = fc.constantFrom('a', 'A', 'a-2', 'A-2', 'a-3', 'x'.repeat(64), `${'X'.repeat(62)}-2`);
    fc.assert(
      fc.property(few, fc.array(few), (name, taken) => {
        const unique = uniqueName(name, taken);
        expect(taken.map((other) => other.toLowerCase())).not.toContain(unique.toLowerCase());
        expect(cleanName(unique)).toBe(unique);
      }),
    );
  });
});
