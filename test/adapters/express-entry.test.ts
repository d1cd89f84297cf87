import { amesh } from '@authmesh/sdk';
import * as entry from '@authmesh/sdk/express';
import { describe, expect, it } from 'vitest';

describe('@authmesh/sdk/express', () => {
  it('exports the same names as amesh, and nothing else', () => {
    expect(Object.keys(entry).sort()).toEqual(['hasScope', 'rawBody', 'streamUnverifiedBody', 'verify']);
    expect(entry.rawBody).toBe(amesh.rawBody);
  });

  it('uses the instance that is passed, with the other options', () => {
    const asked: unknown[] = [];
    const instance = {
      verifier(options: unknown) {
        asked.push(options);
        return amesh.verifier();
      },
    };
    expect(entry.verify({ amesh: instance as never, maxBodyBytes: 5 })).toBeTypeOf('function');
    expect(asked).toEqual([{ maxBodyBytes: 5 }]);
  });

  it('refuses a value that is not an option, and a request instead of options', () => {
    expect(() => entry.verify({ maxBodyBites: 5 } as never)).toThrow('has no option "maxBodyBites"');
    expect(() => entry.verify({ socket: {} } as never)).toThrow('was given a request');
    expect(() => entry.verify(null as never)).toThrow('takes an options object');
  });
});
