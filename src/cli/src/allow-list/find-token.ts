import type { Grant, IssuedToken, ListHead } from '@authmesh/sdk/admin/list';
import { AmeshError, CODES } from '@authmesh/sdk/core';

/**
 * Finds a token of this machine by ID or name, as a user typed it. An ID has priority over a name. If several have the name, the
 * one that can still be used has priority.
 *
 * @throws AmeshError `unknown_token`, `ambiguous_name`
 */
export function findToken(head: ListHead, idOrName: string): IssuedToken | Grant {
  const issued = head.tokens.filter((token) => token.kind === 'issued');
  return theOne([...issued, ...head.grants], idOrName);
}

/**
 * The same for grants only.
 *
 * @throws AmeshError `unknown_token`, `ambiguous_name`
 */
export function findGrantByName(head: ListHead, idOrName: string): Grant {
  return theOne(head.grants, idOrName);
}

function theOne<T extends IssuedToken | Grant>(all: readonly T[], idOrName: string): T {
  const name = idOrName.normalize('NFC');
  const byId = all.filter(({ id }) => id === idOrName);
  const called = byId.length > 0 ? byId : all.filter((token) => nameOf(token) === name);
  const open = called.filter(isOpen);
  const [found, ...others] = open.length > 0 ? open : called;
  if (found === undefined) throw new AmeshError(CODES.unknown_token);
  if (others.length === 0) return found;
  throw new AmeshError(
    CODES.ambiguous_name,
    `${others.length + 1} tokens or grants are called ${JSON.stringify(name)}.`,
    { fix: 'Use the ID', command: ['amesh', 'tokens'] },
  );
}

function nameOf(token: IssuedToken | Grant): string {
  return 'names' in token ? token.names : token.friendlyName;
}

/** Whether a machine can still use it. */
function isOpen(token: IssuedToken | Grant): boolean {
  if (token.expiresAt * 1000 <= Date.now()) return false;
  return 'names' in token ? token.used < token.uses : token.takenBy === null && token.cancelledAt === null;
}
