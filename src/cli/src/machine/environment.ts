import { loadAdmin } from './load';

/** Variables that nothing reads, and those that were probably meant. The prefixes are easy to mix up. */
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
 * Looks at what the commands read, before one of them does anything.
 *
 * @throws TypeError that names the variable, and never its value
 */
export async function assertVariables(env: Env): Promise<void> {
  const { assertPassphraseVariables, homeDir, readVariable } = await loadAdmin();
  homeDir(undefined, env);
  for (const name of ['AMESH_HOSTS', 'AMESH_FOLDER_OWNERS', 'AMESH_RELAY_URL'])
    readVariable(env, name, 'unset');
  for (const name of ['AMESH_OWNER_KEY', 'AMESH_STORE_URL']) readVariable(env, name, 'wrong');
  assertPassphraseVariables(env);
}

/** What is set in this environment and does not do what it looks like, one line each. */
export async function environmentNotes(env: Env): Promise<string[]> {
  return [
    ...Object.entries(MISTAKEN)
      .filter(([name]) => env[name])
      .map(([name, meant]) => `! ${name} means nothing. Did you mean ${meant}?`),
    ...(env.AMESH_HOSTS ? await hostsNotes(env.AMESH_HOSTS) : []),
  ];
}

async function hostsNotes(hosts: string): Promise<string[]> {
  const { parseHosts, readVariable } = await loadAdmin();
  try {
    parseHosts(readVariable({ AMESH_HOSTS: hosts }, 'AMESH_HOSTS', 'unset') ?? '');
    return [];
  } catch (error) {
    return [`! AMESH_HOSTS is wrong, and a server would not start with it: ${(error as Error).message}`];
  }
}
