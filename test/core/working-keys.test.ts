import { signRequest } from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { describe, expect, it } from 'vitest';

const view = { method: 'GET', target: '/a', authority: 'api.example.com', headers: {} };

describe('Signing with a working key', () => {
  it('names the device, sends the statement, and covers it', async () => {
    const device = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
    const worker = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
    const signer = {
      ...device,
      requestSigner: () => ({ ...worker, deviceId: 'am_0123456789abcdef', statement: 'eyJ.statement' }),
    };
    const { headers } = await signRequest(view, signer, { format: 'rfc9421' });
    expect(headers['authmesh-key']).toBe('eyJ.statement');
    expect(headers['signature-input']).toContain('"authmesh-key");');
    expect(headers['signature-input']).toContain('keyid="am_0123456789abcdef"');
  });

  it('refuses to sign the statement of somebody else without a working key', async () => {
    const device = await nodeCrypto.importPrivateKey(await nodeCrypto.generatePrivateKey());
    await expect(
      signRequest({ ...view, headers: { 'authmesh-key': 'eyJ.statement' } }, device),
    ).rejects.toThrow('This request has the AuthMesh-Key of another signature: remove it first.');
  });
});
