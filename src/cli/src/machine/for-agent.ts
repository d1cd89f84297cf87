import { assertPath } from '@authmesh/sdk/admin/list';
import { UsageError } from '../errors/errors';

/**
 * Checks the flags that only keys in an SSH agent have.
 *
 * @param backend where the key is to be stored
 * @throws UsageError for a flag that the backend does not have, and for a wrong path
 */
export function assertForAgent(
  backend: string | undefined,
  flags: { readonly key?: string | undefined; readonly socket?: string | undefined },
): void {
  for (const name of ['key', 'socket'] as const)
    if (flags[name] !== undefined && backend !== 'ssh-agent')
      throw new UsageError(`--${name} is only for --backend ssh-agent.`);
  try {
    if (flags.socket !== undefined) assertPath('--socket', flags.socket);
  } catch (error) {
    throw new UsageError((error as TypeError).message);
  }
}
