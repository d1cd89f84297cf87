import { copyOf, wipe } from './secret-bytes';

/**
 * Keeps the secret with which a key was made until that key is opened, which happens next: a pipe can be read only once. The
 * context is the caller's object, so the secret is not put there.
 */
export class KeptSecrets<Secret extends { readonly bytes: Uint8Array }> {
  readonly #kept = new WeakMap<object, Secret>();

  /** Keeps a copy for the next {@link take} with this context. */
  keep(context: object, secret: Secret): void {
    this.forget(context);
    this.#kept.set(context, { ...secret, bytes: copyOf(secret.bytes) });
  }

  /** Hands over what was kept. The caller then has to wipe it. */
  take(context: object): Secret | undefined {
    const secret = this.#kept.get(context);
    this.#kept.delete(context);
    return secret;
  }

  /** Wipes what was kept, if anything. */
  forget(context: object): void {
    const secret = this.take(context);
    if (secret !== undefined) wipe(secret.bytes);
  }
}
