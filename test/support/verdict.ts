import { createHash } from 'node:crypto';
import { createVerifier, InMemoryNonceStore, type VerifierOptions } from '@authmesh/sdk/core';
import type { Recorded } from './recorder';
import { vectorAllowList } from './vectors';

/**
 * What a verifier of the vectors' target says of a request that a server got: `accepted`, or the code. It answers to
 * whatever host the request names.
 */
export async function verdictOn(request: Recorded, options: Partial<VerifierOptions> = {}): Promise<string> {
  const verifier = createVerifier({
    allowList: { ...vectorAllowList, hosts: [request.authority] },
    nonceStore: new InMemoryNonceStore({ startedAt: 0 }),
    maxBodyBytes: 100_000_000,
    ...options,
  });
  const verdict = await verifier.verify(request);
  return verdict.ok ? 'accepted' : verdict.code;
}

/** A Content-Digest by Node's own hash, without any code of ours. */
export function digestOf(bytes: Uint8Array): string {
  return `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
}
