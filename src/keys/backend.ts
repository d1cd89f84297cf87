import type { Signer } from '../core/crypto/provider';
import type { Fix } from '../core/errors/define-codes';
import type { Env } from '../process/home';

/** The context in which a backend opens a key. */
export interface KeyContext {
  /** The folder of this machine's identity, as an absolute path. */
  readonly dir: string;
  /** The environment, with AUTH_MESH_PASSPHRASE and the like. */
  readonly env: Env;
  /** For creating a key: whether damaged files may be replaced, like the identity itself. Default false. */
  readonly isForced?: boolean | undefined;
}

/** Stores private keys. Every backend passes the contract in test/support/key-backend-contract.ts. */
export interface KeyBackend {
  /** The name in `identity.json`, and for `amesh init --backend`. */
  readonly id: string;
  /**
   * Describes in one or two sentences where a key is stored, what opens it, and who could copy it.
   *
   * @throws AmeshError `passphrase_required` if it cannot tell
   */
  describe(context: KeyContext): Promise<string>;
  /** Tests whether the backend works here, by using it; `reason` explains why not. */
  probe(context: KeyContext): Promise<{
    /** Whether a key can be created or opened here. */
    available: boolean;
    /** Why not: one sentence. */
    reason?: string;
    /** What to do about it; absent if the general fix of `key_backend_unavailable` fits. */
    advice?: Fix;
    /** Whether hardware stores the private key and does not reveal it. */
    hardware: boolean;
  }>;
  /**
   * Creates a key.
   *
   * @returns `ref`, which opens it later and is not secret, and the compressed point, 33 bytes
   */
  create(context: KeyContext): Promise<{
    /** Opens the key later; not secret. */
    ref: string;
    /** The compressed point, 33 bytes. */
    publicKey: Uint8Array;
  }>;
  /**
   * @throws AmeshError `identity_unreadable`, `passphrase_required`, `passphrase_wrong`, `key_backend_unavailable`
   */
  open(ref: string, context: KeyContext): Promise<Signer>;
  /** Removes a key permanently. It is not an error if there is no such key. */
  remove(ref: string, context: KeyContext): Promise<void>;
}
