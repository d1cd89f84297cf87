/** Variables that nothing reads, and those that were probably meant. The prefixes are easy to mix up. */
const MISTAKEN: Readonly<Record<string, string>> = Object.freeze({
  AMESH_DIR: 'AUTH_MESH_DIR',
  AMESH_PASSPHRASE: 'AUTH_MESH_PASSPHRASE',
  AUTH_MESH_PASSPHRASE_FILE: 'AMESH_PASSPHRASE_FILE',
  AUTH_MESH_HOSTS: 'AMESH_HOSTS',
});

/** Those that leave the key to a generated passphrase when they are empty. */
const PASSPHRASES = ['AUTH_MESH_PASSPHRASE', 'AMESH_PASSPHRASE_FILE'];

/** What is set in this environment and does not do what it looks like, one line each. */
export function environmentNotes(env: Readonly<Record<string, string | undefined>>): string[] {
  return [
    ...Object.entries(MISTAKEN)
      .filter(([name]) => env[name])
      .map(([name, meant]) => `! ${name} means nothing. Did you mean ${meant}?`),
    ...PASSPHRASES.filter((name) => env[name] === '').map(
      (name) => `! ${name} is empty, so it counts as not set.`,
    ),
  ];
}
