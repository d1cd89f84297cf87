// The client in a Worker: answers with what it makes of the answers of another server.
import * as core from '@authmesh/sdk/core';
import { webCrypto } from '@authmesh/sdk/crypto/web';
// @ts-expect-error it has no types
import { runProofCases } from './proof-cases.mjs';

interface Facts {
  readonly origin: string;
  readonly privateKey: core.PrivateJwk;
  readonly deviceId: string;
  readonly publicKey: string;
}

export default {
  async fetch(request: Request) {
    const { origin, privateKey, deviceId, publicKey } = (await request.json()) as Facts;
    const signer = await webCrypto.importPrivateKey(privateKey);
    const target = { deviceId, publicKey: core.fromBase64Url(publicKey) };
    return Response.json(await runProofCases(core, { origin, signer, target }));
  },
};
