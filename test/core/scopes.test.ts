import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { covers, isScope, isScopePattern, missingScope } from '../../src/core/devices/scopes';

describe('a scope', () => {
  it.each(['a', 'orders:read', 'a.b_c-d:e', '0', ':', 'x'.repeat(64)])('%s is one', (text) => {
    expect([isScope(text), isScopePattern(text)]).toEqual([true, true]);
  });

  it.each(['', 'x'.repeat(65), 'Orders', 'a b', 'ä', 'a\n', 'a,b', 'a/b', null, 7, ['a']])(
    '%j is not a scope',
    (text) => {
      expect([isScope(text), isScopePattern(text)]).toEqual([false, false]);
    },
  );

  it.each(['*', 'orders:*', `${'x'.repeat(62)}:*`, 'a:b:*'])('%s can be granted and not required', (text) => {
    expect([isScope(text), isScopePattern(text)]).toEqual([false, true]);
  });

  it.each(['**', 'orders*', 'orders:**', '*:read', 'a:*:b', ':*', `${'x'.repeat(63)}:*`])(
    '%s is not a pattern',
    (text) => {
      expect(isScopePattern(text)).toBe(false);
    },
  );
});

describe('what a pattern covers', () => {
  it.each([
    ['orders:read', 'orders:read', true],
    ['orders:read', 'orders:rea', false],
    ['orders:read', 'orders:read:all', false],
    ['orders:*', 'orders:read', true],
    ['orders:*', 'orders:a:b', true],
    ['orders:*', 'orders', false],
    ['orders:*', 'orders:', false],
    ['orders:*', 'ordersx:read', false],
    ['*', 'anything', true],
  ])('%s and %s: %s', (pattern, scope, expected) => {
    expect(covers([pattern], scope)).toBe(expected);
  });

  it('is nothing without a pattern', () => {
    expect(covers([], 'orders:read')).toBe(false);
  });

  it('is the same as with a regular expression', () => {
    const part = fc.stringMatching(/^[a-c:]{1,4}$/);
    const pattern = fc.oneof(
      part,
      part.map((text) => `${text}:*`),
      fc.constant('*'),
    );
    fc.assert(
      fc.property(fc.array(pattern, { maxLength: 4 }), part, (patterns, scope) => {
        const expected = patterns.some((each) => new RegExp(`^${each.replace(/\*$/, '.+')}$`).test(scope));
        expect(covers(patterns, scope)).toBe(expected);
      }),
    );
  });
});

describe('the missing scope', () => {
  it.each<[readonly string[], readonly string[], string | undefined]>([
    [['orders:read'], ['orders:read'], undefined],
    [['orders:read'], ['orders:read', 'orders:read'], undefined],
    [['orders:read'], ['orders:read', 'orders:write', 'reports:read'], 'orders:write'],
    [['orders:*', 'reports:read'], ['reports:read', 'orders:write'], undefined],
    [[], ['orders:read'], 'orders:read'],
  ])('of %j for %j is %s', (patterns, required, expected) => {
    expect(missingScope(patterns, required)).toBe(expected);
  });
});
