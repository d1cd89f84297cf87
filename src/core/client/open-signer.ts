import type { MaybePromise, Signer } from '../crypto/provider';

/**
 * Opens a signer when it is first needed, and once for all who need it at the same time. A failure is not kept: the
 * next request may find what this one lacked.
 */
export function openOnce(signer: Signer | (() => MaybePromise<Signer>)): () => MaybePromise<Signer> {
  if (typeof signer !== 'function') return () => signer;
  let opened: MaybePromise<Signer> | undefined;
  return () => {
    opened ??= open(signer);
    return opened;
  };

  async function open(ask: () => MaybePromise<Signer>): Promise<Signer> {
    try {
      const value = await ask();
      opened = value;
      return value;
    } catch (error) {
      opened = undefined;
      throw error;
    }
  }
}
