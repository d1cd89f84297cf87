import { isAbsolute } from 'node:path';
import { AmeshError } from '../../core/errors/amesh-error';
import { readPath, VariableError } from '../../process/environment';
import type { Env } from '../../process/home';
import { KEY_CODES } from '../errors/codes';
import { DEADLINE_MS, NOTICE_MS, type Patience, toPatience, type Waiting } from '../slow/patience';
import { AgentConnection } from './connection';
import { readIdentities, readSignature, requestIdentities, signRequest } from './messages';
import type { AgentKey } from './public-key';

const WINDOWS_PIPE = '\\\\.\\pipe\\openssh-ssh-agent';

/** Where an agent was found. */
export interface AgentPlace {
  /** The path of its socket, or of its named pipe. */
  readonly path: string;
  /** Whether it seems to be the agent of another machine. */
  readonly isForwarded: boolean;
}

/**
 * Finds the agent: AMESH_SSH_AUTH_SOCK, the socket that was named for this key, SSH_AUTH_SOCK, or the pipe of OpenSSH on Windows,
 * in this order.
 *
 * @param named the socket of `--socket`, now or when the key was chosen
 * @throws VariableError; AmeshError `key_backend_unavailable` if there is none
 */
export function findAgent(
  env: Env,
  named: string | undefined,
  platform: NodeJS.Platform = process.platform,
): AgentPlace {
  const path = readPath(env, 'AMESH_SSH_AUTH_SOCK', 'wrong') ?? named ?? fromSession(env, platform);
  return { path, isForwarded: isForwarded(path, env) };
}

/** @throws VariableError if two different sockets are named for a new key */
export function assertOneSocket({ AMESH_SSH_AUTH_SOCK: variable }: Env, named: string | undefined): void {
  if (named === undefined || variable === undefined || named === variable) return;
  throw new VariableError(
    'AMESH_SSH_AUTH_SOCK',
    'names another socket than the one that was chosen for this key.',
    'Unset it, or name no other socket.',
  );
}

function fromSession(env: Env, platform: NodeJS.Platform): string {
  const { SSH_AUTH_SOCK: path } = env;
  if (path) {
    if (isAbsolute(path)) return path;
    throw new AmeshError(KEY_CODES.key_backend_unavailable, 'SSH_AUTH_SOCK is not an absolute path.', {
      fix: 'Correct it, or set AMESH_SSH_AUTH_SOCK.',
    });
  }
  if (platform === 'win32') return WINDOWS_PIPE;
  throw new AmeshError(
    KEY_CODES.key_backend_unavailable,
    'No SSH agent is known here: SSH_AUTH_SOCK is not set.',
    {
      fix: 'Start an agent in this session: eval "$(ssh-agent)". For a service, or after sudo, set AMESH_SSH_AUTH_SOCK to the socket of the agent.',
    },
  );
}

/**
 * Whether an agent seems to be forwarded by sshd. Asking the agent does not help: its answers are the same through any number of
 * machines. OpenSSH 10.1 and later put a word into the name of the socket. Before that, the only sign is a session over SSH whose
 * socket came with it.
 */
function isForwarded(path: string, env: Env): boolean {
  if (/[\\/]s\.[^\\/]*\.sshd\.[^\\/]*$/.test(path)) return true;
  if (/[\\/]s\.[^\\/]*\.agent\.[^\\/]*$/.test(path)) return false;
  if (!env.SSH_CONNECTION || path !== env.SSH_AUTH_SOCK) return false;
  const { XDG_RUNTIME_DIR: runtimeDir } = env;
  const isOfThisMachine = path.startsWith('/run/') || (runtimeDir && path.startsWith(`${runtimeDir}/`));
  return !isOfThisMachine;
}

/** An SSH agent. A connection is open only while there is something to ask. */
export class Agent {
  readonly #patience: Patience;

  /** @param times how long to wait; default: a notice after 2 s, and the end after 60 s */
  constructor(
    readonly place: AgentPlace,
    waiting: Waiting,
    { noticeMs = NOTICE_MS, deadlineMs = DEADLINE_MS }: Partial<Patience> = {},
  ) {
    this.#patience = toPatience(
      waiting,
      `Waiting for the SSH agent at ${place.path}. It may require a touch or a PIN, or ask in a window.`,
      { noticeMs, deadlineMs },
    );
  }

  /** @throws what {@link AgentConnection} and {@link readIdentities} throw */
  async list(): Promise<AgentKey[]> {
    return this.#with(async (connection) =>
      readIdentities(await connection.ask(requestIdentities(), this.#patience)),
    );
  }

  /**
   * Signs one message after the other, over one connection.
   *
   * @param next returns the next message; undefined if there are no more
   * @param done receives its signature: r‖s, 64 bytes
   * @throws what {@link AgentConnection} and {@link readSignature} throw
   */
  async sign(
    blob: Uint8Array,
    next: () => Uint8Array | undefined,
    done: (signature: Uint8Array) => Promise<void>,
  ): Promise<void> {
    await this.#with(async (connection) => {
      for (let message = next(); message !== undefined; message = next())
        await done(readSignature(await connection.ask(signRequest(blob, message), this.#patience)));
    });
  }

  async #with<T>(work: (connection: AgentConnection) => Promise<T>): Promise<T> {
    const connection = await AgentConnection.open(this.place.path, this.#patience);
    try {
      return await work(connection);
    } finally {
      connection.close();
    }
  }
}
