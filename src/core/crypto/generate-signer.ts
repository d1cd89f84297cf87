import type { CryptoProvider, GeneratedSigner } from './provider';

/** A signer with a new key, which leaves the memory of the runtime's cryptography only where there is no other way. */
export async function generateSigner(crypto: CryptoProvider): Promise<GeneratedSigner> {
  if (crypto.generateSigner !== undefined) return crypto.generateSigner();
  const jwk = await crypto.generatePrivateKey();
  return { signer: await crypto.importPrivateKey(jwk), x: jwk.x, y: jwk.y };
}
