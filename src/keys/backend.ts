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
  /** For creating a key outside amesh: its public key, a compressed point of 33 bytes. */
  readonly publicKey?: Uint8Array | undefined;
  /** For choosing a key that is there: its fingerprint (`SHA256:…`) or its comment. Default: the only one. */
  readonly agentKey?: string | undefined;
  /** For choosing a key that is there: the socket of its agent, an absolute path. Default: that of the session. */
  readonly agentSocket?: string | undefined;
  /** Ends the wait for an agent. A backend that waits for nobody ignores it. */
  readonly signal?: AbortSignal | undefined;
  /** Called with a sentence when a person may have to touch or confirm something. Default: a line on stderr. */
  readonly onWait?: ((sentence: string) => void) | undefined;
}

/** Stores private keys. Every backend passes the contract in test/support/key-backend-contract.ts. */
export interface KeyBackend {
  /** The name in `identity.json`, and for `amesh init --backend`. */
  readonly id: string;
  /**
   * Whether the private key stays outside this process, where each signature takes long. Requests are then signed by a
   * working key, about which this key signs a statement once an hour.
   */
  readonly isOutsideProcess: boolean;
  /** Whether a signature may wait for a person, who touches or confirms something. Such a key signs only what is needed. */
  readonly mayAskPerson: boolean;
  /**
   * Describes in a few sentences where a key is stored, what opens it, and who could copy it.
   *
   * @param ref the key; default: one that would be created now
   * @throws AmeshError `passphrase_required`, `identity_unreadable` if it cannot tell
   */
  describe(context: KeyContext, ref?: string): Promise<string>;
  /**
   * Tests whether the backend works here, by using it; `reason` explains why not.
   *
   * @param ref the key that it should open; default: whether it can create one
   */
  probe(
    context: KeyContext,
    ref?: string,
  ): Promise<{
    /** Whether a key can be created or opened here. */
    available: boolean;
    /** Why not: one sentence. */
    reason?: string;
    /** What to do about it; absent if the general fix of `key_backend_unavailable` fits. */
    advice?: Fix;
    /** What else is to be said of what was found: one sentence. */
    note?: string;
    /** Why it is better not chosen here, although it works: one sentence. */
    warning?: string;
    /** Whether hardware stores the private key and does not reveal it. */
    hardware: boolean;
  }>;
  /**
   * Creates a key; or chooses one, where another program has made it.
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
   * @throws AmeshError `identity_unreadable`, `passphrase_required`, `passphrase_wrong`, `key_backend_unavailable`,
   *   `key_absent`, `key_lost`
   */
  open(ref: string, context: KeyContext): Promise<Signer>;
  /**
   * Removes a key permanently; a key that was chosen stays where it is, and only the reference to it is removed. It is not an
   * error if there is no such key.
   */
  remove(ref: string, context: KeyContext): Promise<void>;
}
