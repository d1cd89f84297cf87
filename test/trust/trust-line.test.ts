import { cleanName, fromTrustLine, toTrustLine } from '@authmesh/sdk/admin';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toPoint } from '../../src/core/crypto/points';
import { vectors } from '../support/vectors';

const { deviceId, publicKey } = vectors.devices.controller;
const identity = (name: string, key = publicKey) => ({
  deviceId,
  publicKey: key,
  friendlyName: name,
  createdAt: 0,
  key: { backend: 'encrypted-file', ref: 'keys/x.pem' },
});

describe('a trust line', () => {
  it('names the key and the device', async () => {
    const line = toTrustLine(identity('prod api'));
    expect(line).toBe(`amesh-p256 ${publicKey} prod api`);
    expect(await fromTrustLine(line)).toEqual({ deviceId, publicKey, friendlyName: 'prod api' });
  });

  it('can be read back as it was written, for every key and every name', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 80 }), async (text) => {
        const key = Buffer.from(toPoint(nodeCrypto.generatePrivateKey() as { x: string; y: string }));
        const friendlyName = cleanName(text);
        const read = await fromTrustLine(toTrustLine(identity(friendlyName, key.toString('base64url'))));
        expect(read).toMatchObject({ publicKey: key.toString('base64url'), friendlyName });
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    ['white space around it', `\n  amesh-p256 ${publicKey} api \r\n`, 'api'],
    ['more spaces in it', `amesh-p256   ${publicKey}   api`, 'api'],
    ['no name', `amesh-p256 ${publicKey}`, 'unnamed'],
    ['a name to be cleaned', `amesh-p256 ${publicKey} \x1b[31mred\u202e`, 'red'],
    ['an ID as a name', `amesh-p256 ${publicKey} am_AAAAAAAAAAAAAAAA`, 'device am_AAAAAAAAAAAAAAAA'],
  ])('may have %s', async (_, line, friendlyName) => {
    expect(await fromTrustLine(line)).toEqual({ deviceId, publicKey, friendlyName });
  });

  it.each([
    ['nothing', ''],
    ['a deviceId', deviceId],
    ['only a key', publicKey],
    ['another kind of key', `ssh-ed25519 ${publicKey} api`],
    ['another case', `AMESH-P256 ${publicKey} api`],
    ['two lines', `amesh-p256 ${publicKey} api\namesh-p256 ${publicKey} api`],
    ['a key on a line of its own', `amesh-p256\n${publicKey} api`],
    ['a key that is too short', `amesh-p256 ${publicKey.slice(1)} api`],
    ['a key that is too long', `amesh-p256 ${publicKey}A api`],
    ['a key with padding', `amesh-p256 ${publicKey}= api`],
    ['a key in another alphabet', `amesh-p256 +/${publicKey.slice(2)} api`],
    ['a name glued to the key', `amesh-p256 ${publicKey},api`],
    ['a line without end', `amesh-p256 ${publicKey} ${'x'.repeat(1000)}`],
  ])('is not %s', async (_, line) => {
    await expect(fromTrustLine(line)).rejects.toMatchObject({
      code: 'malformed_trust_line',
      message:
        'This line does not come from amesh trust export. Copy the whole line: amesh-p256 <key> <name>',
    });
  });

  it.each([
    ['an x without a point', Buffer.concat([Buffer.of(2), Buffer.alloc(31), Buffer.of(1)])],
    ['an x beyond the field', Buffer.concat([Buffer.of(2), Buffer.alloc(32, 0xff)])],
    ['an uncompressed beginning', Buffer.concat([Buffer.of(4), Buffer.alloc(32, 1)])],
    ['infinity', Buffer.alloc(33)],
  ])('is refused with %s for a key', async (_, point) => {
    await expect(fromTrustLine(`amesh-p256 ${point.toString('base64url')} api`)).rejects.toMatchObject({
      code: 'malformed_trust_line',
      message: expect.stringContaining('The key in this line is not a point on the P-256 curve.'),
    });
  });
});
