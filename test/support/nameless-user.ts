/** A user whom no Linux has: as in a container that was started with `--user 54321`. */
export const NAMELESS = 54_321;

/** Calls `use` as a user without a name in /etc/passwd. Only root can become one. */
export function asNameless<T>(use: () => T): T {
  process.seteuid?.(NAMELESS);
  try {
    return use();
  } finally {
    process.seteuid?.(0);
  }
}
