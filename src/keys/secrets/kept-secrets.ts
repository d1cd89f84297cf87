import { copyOf, wipe } from './secret-bytes';

/**
 * Secrets with which keys were made, until those are opened, which comes next: a pipe is read only once. A context is the
 * caller's object, and no secret may be in it.
 */
export class KeptSecrets<Secret extends { readonly bytes: Uint8Array }> {
  readonly #kept = new WeakMap<object, Secret>();

  /** Keeps a copy for the next {@link take} with this context. */
  keep(context: object, secret: Secret): void {
    this.forget(context);
    this.#kept.set(context, { ...secret, bytes: copyOf(secret.bytes) });
  }

  /** What was kept, which is then the caller's. */
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
