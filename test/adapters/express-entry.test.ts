import { amesh } from '@authmesh/sdk';
import * as entry from '@authmesh/sdk/express';
import { expect, it } from 'vitest';

it('@authmesh/sdk/express names what amesh has, and nothing else', () => {
  expect(Object.keys(entry).sort()).toEqual(['rawBody', 'streamUnverifiedBody', 'verify']);
  expect(entry.verify).toBe(amesh.verify);
  expect(entry.rawBody).toBe(amesh.rawBody);
});
