import { nobleCrypto } from '@authmesh/sdk/crypto/noble';
import { nodeCrypto } from '@authmesh/sdk/crypto/node';
import { webCrypto } from '@authmesh/sdk/crypto/web';

/** Every crypto provider: each passes the same contract and the same vectors. */
export const providers = [nodeCrypto, webCrypto, nobleCrypto];
