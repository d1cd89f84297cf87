import { describe, expect, it } from 'vitest';
import { attached } from '../../src/core/attached';

const kinds: readonly [name: string, make: () => object][] = [
  ['an object', () => ({})],
  ['a request', () => new Request('http://h/')],
  ['a function', () => () => {}],
  ['a frozen object', () => Object.freeze({})],
  ['a sealed object', () => Object.seal({ a: 1 })],
];

describe.each(kinds)('what is attached to %s', (_name, make) => {
  it('is there until it is replaced', () => {
    const values = attached<string>();
    const object = make();
    expect(values.get(object)).toBeUndefined();
    values.set(object, 'first');
    expect(values.get(object)).toBe('first');
    values.set(object, 'second');
    expect(values.get(object)).toBe('second');
  });

  it('is not there for another object, a copy, a proxy or an heir, and nobody else sees it', () => {
    const values = attached<string>();
    const object = make();
    const before = Reflect.ownKeys(object);
    values.set(object, 'value');
    expect(Reflect.ownKeys(object)).toEqual(before);
    for (const other of [make(), { ...object }, new Proxy(object, {}), Object.create(object)])
      expect(values.get(other)).toBeUndefined();
    expect(attached<string>().get(object)).toBeUndefined();
  });

  it('stays if the object is frozen afterwards', () => {
    const values = attached<string>();
    const object = make();
    values.set(object, 'first');
    Object.freeze(object);
    values.set(object, 'second');
    expect(values.get(object)).toBe('second');
  });
});
