import { toScopes } from '@authmesh/sdk/admin/list';
import type { ArgsDef } from 'citty';
import { type Given, valuesOf } from '../command-line/arguments';
import { UsageError } from '../errors/errors';
import { shellWord } from '../words/shell';

/** How many scopes a line for people shows. */
const MAX_SHOWN = 4;

/** The flag that gives scopes to a device while it is added. */
export const SCOPE_ARGS = {
  scope: {
    type: 'string',
    valueHint: 'scope...',
    description:
      "What the caller may do, such as orders:read or 'reports:*'; may be given several times. Default nothing that requires a scope",
  },
} as const satisfies ArgsDef;

/** The scopes of all `--scope` in a command line. */
export function scopesOf(given: Given): readonly string[] {
  return readScopes(valuesOf(given, 'scope'), '--scope');
}

/**
 * Scopes as typed, one a word or several separated by commas.
 *
 * @param where their origin, for the message
 * @returns sorted, without duplicates and without scopes that another one covers
 * @throws UsageError; AmeshError `too_many_scopes`
 */
export function readScopes(words: readonly string[], where: string): readonly string[] {
  const scopes = words.flatMap((word) => word.split(',')).map((text) => text.trim());
  try {
    return toScopes(scopes);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new UsageError(`${where}: ${error.message}`, {
      hint: "For example orders:read, or 'reports:*' for everything that begins with reports:. Use quotes, so that the shell does not replace the *.",
    });
  }
}

/** Scopes for people, on one line. */
export function scopesText(scopes: readonly string[] = []): string {
  if (scopes.length === 0) return '-';
  const more = scopes.length - MAX_SHOWN;
  return scopes.slice(0, MAX_SHOWN).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** Scopes as words of a command line. */
export function scopeWords(scopes: readonly string[]): string {
  return scopes.map(shellWord).join(' ');
}
