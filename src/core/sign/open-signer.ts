import type { MaybePromise, Signer } from '../crypto/provider';

/**
 * Opens a signer when it is first needed, and once for all who need it at the same time. A failure is not kept: the
 * next request may find what this one lacked.
 */
export function openOnce(signer: Signer | (() => MaybePromise<Signer>)): () => MaybePromise<Signer> {
  if (typeof signer !== 'function') return () => signer;
  let opened: MaybePromise<Signer> | undefined;
  return () => {
    if (opened !== undefined) return opened;
    const opening = (async () => signer())(); // what throws at once fails like what rejects later
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
