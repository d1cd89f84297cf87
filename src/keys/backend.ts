import type { Signer } from '../core/crypto/provider';
import type { Env } from '../process/home';

/** What a backend may need to open a key. */
export interface KeyContext {
  /** The folder of this machine's identity, an absolute path. */
  readonly dir: string;
  /** The variables of the process: AUTH_MESH_PASSPHRASE and the like are read from here. */
  readonly env: Env;
  /** Where a key is made: what is damaged may be replaced, since the identity that was here is. Default false. */
  readonly isForced?: boolean | undefined;
}

/** Where private keys live. Every backend passes the contract in test/support/key-backend-contract.ts. */
export interface KeyBackend {
  /** The name in `identity.json` and of `amesh init --backend`. */
  readonly id: string;
  /**
   * Says in a sentence or two where a key lies that is made or opened here now, what opens it and who could copy it.
   *
   * @throws AmeshError `passphrase_required` where it cannot tell
   */
  describe(context: KeyContext): Promise<string>;
  /** Whether it can be used here, found out by using it; `reason` says why not. */
  probe(context: KeyContext): Promise<{
    /** Whether a key can be made or opened here. */
    available: boolean;
    /** Why not, in one sentence. */
    reason?: string;
    /** Whether the private key lives in hardware that does not give it out. */
    hardware: boolean;
  }>;
  /**
   * Makes a key.
   *
   * @returns `ref`, which opens it later and holds no secret, and the compressed point, 33 bytes
   */
  create(context: KeyContext): Promise<{
    /** Opens the key later; no secret. */
    ref: string;
    /** The compressed point, 33 bytes. */
    publicKey: Uint8Array;
  }>;
  /**
   * @throws AmeshError `identity_unreadable`, `passphrase_required`, `passphrase_wrong`, `key_backend_unavailable`
   */
  open(ref: string, context: KeyContext): Promise<Signer>;
  /** Removes a key for good. A key that is not there is no error. */
  remove(ref: string, context: KeyContext): Promise<void>;
}
