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

/** Those that leave the key to a generated passphrase when they are empty. */
const PASSPHRASES = ['AUTH_MESH_PASSPHRASE', 'AMESH_PASSPHRASE_FILE'];

/** What is set in this environment and does not do what it looks like, one line each. */
export async function environmentNotes(env: Readonly<Record<string, string | undefined>>): Promise<string[]> {
  return [
    ...Object.entries(MISTAKEN)
      .filter(([name]) => env[name])
      .map(([name, meant]) => `! ${name} means nothing. Did you mean ${meant}?`),
    ...PASSPHRASES.filter((name) => env[name] === '').map(
      (name) => `! ${name} is empty, so it counts as not set.`,
    ),
    ...(env.AMESH_HOSTS ? await hostsNotes(env.AMESH_HOSTS) : []),
  ];
}

async function hostsNotes(hosts: string): Promise<string[]> {
  const { parseHosts } = await loadAdmin();
  try {
    parseHosts(hosts);
    return [];
  } catch (error) {
    return [`! AMESH_HOSTS is wrong, and a server would not start with it: ${(error as Error).message}`];
  }
}
