import {
  type AllowList,
  createAllowList,
  createVerifier,
  InMemoryNonceStore,
  type VerifyOptions,
} from '@authmesh/sdk/core';
import { webCrypto } from '@authmesh/sdk/crypto/web';
import { vectorAllowList, vectors } from '../../support/vectors';
import { MAX_ANSWER_BYTES } from './web-kinds';

let list: AllowList | undefined;
let signed = 0;
const { deviceId, privateKeyJwk } = vectors.devices.target;

const nonceStore = new InMemoryNonceStore({ startedAt: 0 });

/** For an app that is made in a process that had one before, and listens elsewhere. */
export function forgetHost(): void {
  list = undefined;
}

/** Has the verifiers answer to the host of the first request. */
export function listen(url: string): void {
  list ??= createAllowList({ ...vectorAllowList, hosts: [new URL(url).host] });
}

/** A verifier of the vectors' target that signs its answers, on any runtime. */
export const verifierOf = (options: VerifyOptions = {}) =>
  createVerifier({
    allowList: { current: () => list as AllowList },
    nonceStore,
    maxAnswerBytes: MAX_ANSWER_BYTES,
    answerSigner: async () => {
      const key = await webCrypto.importPrivateKey(privateKeyJwk);
      const sign = (message: Uint8Array) => {
        signed++;
        return key.sign(message);
      };
      return { deviceId, sign };
    },
    ...options,
  });

/** How many signatures were made since this was last asked. */
export function takeSigned(): string {
  const count = String(signed);
  signed = 0;
  return count;
}
