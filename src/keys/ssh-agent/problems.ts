import { statSync } from 'node:fs';
import { AmeshError, type AmeshErrorOptions, isAmeshError } from '../../core/errors/amesh-error';
import { ownName } from '../../storage/files/accounts';
import { KEY_CODES } from '../errors/codes';
import type { Agent } from './agent';
import { ClosedAgentError, SilentAgentError } from './connection';
import { AgentFailure } from './messages';
import { type AgentKey, fingerprintOf } from './public-key';

/**
 * Turns a failure of an agent into an error that says what a person can do about it.
 *
 * @param fingerprint the fingerprint of the key that had to sign; undefined if there was none
 */
export async function explain(error: unknown, agent: Agent, fingerprint?: string): Promise<AmeshError> {
  if (isAmeshError(error)) return error;
  const { path } = agent.place;
  if (error instanceof SilentAgentError) return silent(path, fingerprint);
  if (error instanceof ClosedAgentError)
    return unavailable(`The SSH agent at ${path} closed the connection without a response.`, {
      fix: 'Start it again. If it is forwarded, connect again.',
      cause: error,
    });
  if (error instanceof RangeError)
    return unavailable(`The program at ${path} is not a working SSH agent: it sent ${error.message}.`, {
      fix: 'Name the socket of an agent, or update the agent.',
      cause: error,
    });
  if (!(error instanceof AgentFailure)) return explainConnection(error as NodeJS.ErrnoException, path);
  if (fingerprint === undefined)
    return unavailable(`The SSH agent at ${path} refuses to list its keys.`, { fix: 'Unlock it.' });
  return explainFailure(agent, fingerprint);
}

/** An agent only says that it has failed. But a locked agent lists no keys. */
async function explainFailure(agent: Agent, fingerprint: string): Promise<AmeshError> {
  const keys = await agent.list().catch(() => null);
  if (keys !== null && !keys.some(({ blob }) => fingerprintOf(blob) === fingerprint))
    return absent(agent, fingerprint, keys);
  return new AmeshError(
    KEY_CODES.key_refused,
    `The SSH agent at ${agent.place.path} refused to sign with the key ${fingerprint}.`,
  );
}

/** `key_absent`: the agent does not list this key. */
export function absent(agent: Agent, fingerprint: string, keys: readonly AgentKey[]): AmeshError {
  const { path } = agent.place;
  const why =
    keys.length === 0
      ? `The SSH agent at ${path} lists no keys: it is locked, or was restarted since the key was added.`
      : `The SSH agent at ${path} does not have the key ${fingerprint} (any more), only others.`;
  const fix =
    keys.length === 0
      ? 'If it is locked, unlock it: ssh-add -X. Otherwise add the key again: ssh-add FILE, or ssh-add -s PROVIDER.'
      : 'Add the key again: ssh-add FILE, or ssh-add -s PROVIDER. If another agent has it, set AMESH_SSH_AUTH_SOCK.';
  return new AmeshError(KEY_CODES.key_absent, why, { fix });
}

function silent(path: string, fingerprint: string | undefined): AmeshError {
  if (fingerprint === undefined)
    return unavailable(`The SSH agent at ${path} has not responded in time.`, {
      fix: 'Look for a window or a device that waits for you; or start the agent again.',
    });
  return new AmeshError(
    KEY_CODES.key_refused,
    `The SSH agent at ${path} has not signed in time: nobody touched the key ${fingerprint} or gave its PIN, or the agent hangs.`,
  );
}

function explainConnection(error: NodeJS.ErrnoException, path: string): AmeshError {
  const { code = 'unknown error' } = error;
  const options = { cause: error };
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return unavailable(`There is no SSH agent at ${path}.`, {
      ...options,
      fix: 'Start it; after a new login its socket often has another name. A fixed one can be set in AMESH_SSH_AUTH_SOCK.',
    });
  if (code === 'ECONNREFUSED' || code === 'ENOTSOCK' || code === 'EPROTOTYPE')
    return unavailable(
      isSocket(path)
        ? `The SSH agent at ${path} has ended: only its socket is left.`
        : `${path} is not the socket of an SSH agent.`,
      {
        ...options,
        fix: 'Start the agent again, or correct the path in SSH_AUTH_SOCK or AMESH_SSH_AUTH_SOCK.',
      },
    );
  if (code === 'EACCES' || code === 'EPERM')
    return unavailable(
      `This user (${ownName() ?? `uid ${process.geteuid?.()}`}) may not use the SSH agent at ${path}.`,
      {
        ...options,
        fix: 'Use the agent of this user. Most agents serve only the user that started them and root.',
      },
    );
  if (code === 'EAGAIN')
    return unavailable(
      `The SSH agent at ${path} takes no more connections: it hangs, or has too much to do.`,
      {
        ...options,
        fix: 'Start it again.',
      },
    );
  if (code === 'ENAMETOOLONG')
    return unavailable(`The path ${path} is too long for a socket.`, {
      ...options,
      fix: 'Use a shorter one: at most 103 bytes.',
    });
  return unavailable(`The SSH agent at ${path} cannot be used (${code}).`, {
    ...options,
    fix: 'Start it again.',
  });
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket();
  } catch {
    return false;
  }
}

function unavailable(detail: string, options: AmeshErrorOptions): AmeshError {
  return new AmeshError(KEY_CODES.key_backend_unavailable, detail, options);
}
