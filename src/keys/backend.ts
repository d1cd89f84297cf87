import type { Signer } from '../core/crypto/provider';
import type { Fix } from '../core/errors/define-codes';
import type { Env } from '../process/home';

/** The context in which a backend opens a key. */
export interface KeyContext {
  /** The folder of this machine's identity, as an absolute path. */
  readonly dir: string;
  /** The environment, with variables such as AUTH_MESH_PASSPHRASE. */
  readonly env: Env;
  /** For creating a key: whether damaged files may be replaced, like the identity itself. Default false. */
  readonly isForced?: boolean | undefined;
  /** For creating a key outside amesh: its public key, a compressed point of 33 bytes. */
  readonly publicKey?: Uint8Array | undefined;
  /** For choosing an existing key: its fingerprint (`SHA256:…`) or its comment. Default: the only key. */
  readonly agentKey?: string | undefined;
  /** For choosing an existing key: the socket of its agent, an absolute path. Default: the agent of the session. */
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
   * Whether the private key stays outside this process, where each signature takes a long time. Then a working key signs the
   * requests, and this key signs a statement about that once an hour.
   */
  readonly isOutsideProcess: boolean;
  /** Whether a signature may wait for a person, who touches or confirms something. Such a key signs only what it has to. */
  readonly mayAskPerson: boolean;
  /**
   * Describes in a few sentences where a key is stored, what opens it, and who could copy it.
   *
   * @param ref the key; default: the key that would be created now
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
    /** A remark about what was found: one sentence. */
    note?: string;
    /** Why another backend is better here, although this one works: one sentence. */
    warning?: string;
    /** Whether hardware stores the private key and does not reveal it. */
    hardware: boolean;
  }>;
  /**
   * Creates a key, or chooses a key that another program has made.
   *
   * @returns `ref`, which later opens the key and is not secret, and the public key: a compressed point, 33 bytes
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
