import { cleanName } from '@authmesh/sdk/admin';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { times } from '../support/full';

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

  it('gives a name of 1 to 64 code points, on one line, that hides nothing and never looks like an ID', () => {
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
      { numRuns: times(400, 2000) },
    );
  });

  it('does not change a clean name', () => {
    fc.assert(
      fc.property(hostile, (name) => {
        expect(cleanName(cleanName(name))).toBe(cleanName(name));
      }),
      { numRuns: times(400, 2000) },
    );
  });
});
