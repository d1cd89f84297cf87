import { createPrivateKey, type KeyObject } from 'node:crypto';
import { nodeCrypto } from '../core/crypto/node';

/** Generates a P-256 private key. Unlike one of `generateKeyPairSync()`, it may be exported on Node 20: see the provider. */
export function newKey(): KeyObject {
  return createPrivateKey({ key: { ...nodeCrypto.generatePrivateKey() }, format: 'jwk' });
}
