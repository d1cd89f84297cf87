import { covers, isScopePattern } from '../../core/devices/scopes';
import { AmeshError } from '../../core/errors/amesh-error';
import { TRUST_CODES } from '../errors/codes';

/** The most scopes of one device, grant or token. So a line of the list has at most about 5 KiB. */
export const MAX_SCOPES = 64;

/**
 * The shortest list of scopes with the same meaning: sorted, without duplicates, and without scopes that another covers.
 *
 * @throws TypeError for a text that cannot be granted; AmeshError `too_many_scopes`
 */
export function toScopes(given: readonly string[]): readonly string[] {
  if (!Array.isArray(given)) throw new TypeError('scopes must be an array.');
  for (const scope of given) {
    if (!isScopePattern(scope))
      throw new TypeError(
        `${JSON.stringify(scope)} is not a scope. It has 1 to 64 of a-z 0-9 _ . : - and may end in :* or be *.`,
      );
  }
  const all = [...new Set(given)].sort();
  const scopes = all.filter((scope) => !all.some((other) => other !== scope && covers([other], scope)));
  if (scopes.length > MAX_SCOPES)
    throw new AmeshError(
      TRUST_CODES.too_many_scopes,
      `That would be ${scopes.length} scopes. A device can have at most ${MAX_SCOPES}.`,
    );
  return scopes;
}

/** The member `scopes` of an entry; without scopes, an entry has no such member. */
export function scopesMember(scopes: readonly string[]): { readonly scopes?: readonly string[] } {
  return scopes.length === 0 ? {} : { scopes };
}
