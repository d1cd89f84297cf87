import type { CryptoProvider, GeneratedSigner } from './provider';

/** A signer with a new key. The key leaves the memory of the runtime's cryptography only if the provider cannot keep it there. */
export async function generateSigner(crypto: CryptoProvider): Promise<GeneratedSigner> {
  if (crypto.generateSigner !== undefined) return crypto.generateSigner();
  const jwk = await crypto.generatePrivateKey();
  return { signer: await crypto.importPrivateKey(jwk), x: jwk.x, y: jwk.y };
}
