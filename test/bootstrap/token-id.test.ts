import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { newStatementId } from '../../src/core/statements/new-id';

it('no ID that people revoke begins with a hyphen: after a command it would be a flag', () => {
  let left = 3;
  const id = newStatementId({
    randomBytes(length) {
      const bytes = randomBytes(length);
      bytes[0] = --left > 0 ? 0xf8 : 0; // '-' and 'A' in base64url
      return bytes;
    },
  });
  expect(left).toBe(0);
  expect(id).toMatch(/^A[\w-]{21}$/);
});
