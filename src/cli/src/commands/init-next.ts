import { createIdentity } from '@authmesh/sdk/admin';
import { type Env, FileStore, findBackend, NoIdentityError, readIdentity } from '@authmesh/sdk/admin/list';
import type { Result } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { machineDir } from '../machine/machine';
import { shellWord } from '../words/shell';

interface NextArgs {
  readonly name: string;
  readonly backend?: string | undefined;
  readonly [other: string]: unknown;
}

/** Flags that make no sense for a next key: it takes over a list with its hosts, and is stored elsewhere. */
const NOT_WITH_NEXT = ['host', 'force', 'key', 'socket', 'public-key'];

/**
 * Makes the key that can take over the list of this machine if its own key is lost. It is an identity in a folder of its own, next
 * to the folder of this machine. A person then takes it to a safe place.
 *
 * @throws UsageError; NoIdentityError if this machine has no identity; AmeshError like `createIdentity()`
 */
export async function initNext(args: NextArgs, env: Env): Promise<Result> {
  const wrong = NOT_WITH_NEXT.find((name) => args[name] !== undefined);
  if (wrong !== undefined) throw new UsageError(`--${wrong} and --next cannot be combined.`);
  const dir = machineDir();
  const first = await readIdentity(new FileStore(dir));
  if (first === null) throw new NoIdentityError(dir);
  const { backend } = args;
  if (backend !== undefined && backend !== 'encrypted-file' && backend === first.key.backend)
    throw new UsageError(`A second key in the same place (${backend}) is lost together with the first.`, {
      hint: 'Leave --backend out: the key is then in a file, which you take to a safe place.',
    });
  const nextDir = `${dir}-next`;
  // The list of the next key stays empty, in its folder. Later, it takes over the list of the first key.
  const next = await createIdentity(nextDir, env, { friendlyName: args.name, backend }, null);
  const { deviceId, friendlyName, publicKey, createdAt, key } = next;
  const owners = `${first.publicKey},${publicKey}`;
  return {
    json: { deviceId, friendlyName, publicKey, createdAt, backend: key.backend, dir: nextDir, owners },
    notes: [
      `✓ Next key  ${friendlyName}  (${deviceId})`,
      `✓ Key       ${await findBackend(key.backend).describe({ dir: nextDir, env }, key.ref)}`,
      `  Folder    ${nextDir}`,
      `! Anybody with this folder can take over the list of ${first.deviceId}. Move the folder to a disk in a safe, or to`,
      '  another machine, and keep it there until the first key is lost.',
      '  Instances that read the list with AMESH_OWNER_KEY accept the next key from now on if you set, on each of them',
      `    AMESH_OWNER_KEY=${owners}`,
      '  If the first key is lost, with the folder back in its place and a copy of the list:',
      `    AUTH_MESH_DIR=${shellWord(nextDir)} AMESH_OWNER_KEY=${owners} amesh trust take-over list.txt`,
      '  See docs/keys.md, "A second key".',
    ],
  };
}
