import {
  createVerifier,
  InMemoryNonceStore,
  type RequestView,
  signRequest,
  type VerifierOptions,
} from '@authmesh/sdk/core';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { vectorAllowList, vectors } from './vectors';

/** The Unix seconds at which tests of the core happen. */
export const NOW = 1_764_000_000;

const signers = new Map<string, ReturnType<typeof nodeCrypto.importPrivateKey>>();

/** A signer with the key of the vectors' controller, target or stranger, which is read once. */
export function signerOf(name: keyof typeof vectors.devices) {
  const signer = signers.get(name) ?? nodeCrypto.importPrivateKey(vectors.devices[name].privateKeyJwk);
  signers.set(name, signer);
  return signer;
}

/** A verifier of the vectors' target, under a clock that stands still at {@link NOW} unless said otherwise. */
export function verifierAt(options: Partial<VerifierOptions> = {}) {
  const now = options.now ?? (() => NOW * 1000);
  return createVerifier({
    allowList: { ...vectorAllowList, hosts: ['api.example.com'] },
    nonceStore: new InMemoryNonceStore({ now, startedAt: NOW - 3600 }),
    now,
    ...options,
  });
}

/** A request of the vectors' controller, signed at {@link NOW}. */
export async function signed(
  view: Partial<RequestView> = {},
  options: Parameters<typeof signRequest>[2] = {},
) {
  const request = { method: 'GET', target: '/', authority: 'api.example.com', headers: {}, ...view };
  return signRequest(request as RequestView, await signerOf('controller'), { created: NOW, ...options });
}
