import { loadList } from './load';

/** Variables without effect, and the ones that were probably meant. The two prefixes are easy to confuse. */
const MISTAKEN: Readonly<Record<string, string>> = Object.freeze({
  AMESH_DIR: 'AUTH_MESH_DIR',
  AMESH_PASSPHRASE: 'AUTH_MESH_PASSPHRASE',
  AUTH_MESH_PASSPHRASE_FILE: 'AMESH_PASSPHRASE_FILE',
  AUTH_MESH_HOSTS: 'AMESH_HOSTS',
  AUTH_MESH_RELAY_URL: 'AMESH_RELAY_URL',
  AMESH_RELAY: 'AMESH_RELAY_URL',
});

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Checks the variables that commands read, before a command does anything.
 *
 * @throws TypeError with the name of the variable, and never its value
 */
export async function assertVariables(env: Env): Promise<void> {
  const { assertPassphraseVariables, homeDir, readTrustVariables, readVariable } = await loadList();
  homeDir(undefined, env);
  for (const name of ['AMESH_HOSTS', 'AMESH_FOLDER_OWNERS', 'AMESH_RELAY_URL'])
    readVariable(env, name, 'unset');
  readVariable(env, 'AMESH_STORE_URL', 'wrong');
  readTrustVariables(env);
  assertPassphraseVariables(env);
}

/** Notes about variables that do not have the effect they seem to have, one line each. */
export async function environmentNotes(env: Env): Promise<string[]> {
  return [
    ...Object.entries(MISTAKEN)
      .filter(([name]) => env[name])
      .map(([name, meant]) => `! ${name} has no effect. Did you mean ${meant}?`),
    ...(env.AMESH_HOSTS ? await hostsNotes(env.AMESH_HOSTS) : []),
  ];
}

async function hostsNotes(hosts: string): Promise<string[]> {
  const { parseHosts, readVariable } = await loadList();
  try {
    parseHosts(readVariable({ AMESH_HOSTS: hosts }, 'AMESH_HOSTS', 'unset') ?? '');
    return [];
  } catch (error) {
    return [`! AMESH_HOSTS is wrong, so a server would not start: ${(error as Error).message}`];
  }
}
