import type { MaybePromise, Signer } from '../crypto/provider';

/**
 * Opens a signer on first use, once for all concurrent callers. After a failure the next request tries again, since the
 * cause may be gone.
 */
export function openOnce(signer: Signer | (() => MaybePromise<Signer>)): () => MaybePromise<Signer> {
  if (typeof signer !== 'function') return () => signer;
  let opened: MaybePromise<Signer> | undefined;
  return () => {
    if (opened !== undefined) return opened;
    const opening = (async () => signer())(); // turns a synchronous throw into a rejection
    opened = opening;
    opening.then(
      (value) => {
        opened = value;
      },
      () => {
        opened = undefined;
      },
    );
    return opening;
  };
}
