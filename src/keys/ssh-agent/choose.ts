import { AmeshError } from '../../core/errors/amesh-error';
import { KEY_CODES } from '../errors/codes';
import { plain } from '../slow/plain';
import { type AgentKey, fingerprintOf, KEY_TYPE, pointOf, typeOf } from './public-key';

/** How many keys a message lists at most, so that people still read it. */
const MAX_LISTED = 10;

const MAKE_ONE = {
  fix: 'Make one for amesh, and add it with ssh-add',
  command: ['ssh-keygen', '-t', 'ecdsa', '-b', '256'],
};

/** The keys that amesh can use, without duplicates. */
export function usableOf(keys: readonly AgentKey[]): AgentKey[] {
  const found = new Map(keys.map((key) => [fingerprintOf(key.blob), key]));
  return [...found.values()].filter(({ blob }) => pointOf(blob) !== null);
}

/**
 * Chooses the key of an identity.
 *
 * @param wanted its fingerprint, `SHA256:…`, or its whole comment; undefined if there is only one
 * @throws AmeshError `key_not_chosen` unless exactly one fits
 */
export function chooseKey(keys: readonly AgentKey[], wanted: string | undefined): AgentKey {
  const usable = usableOf(keys);
  const fitting = wanted === undefined ? usable : usableOf(keys.filter((key) => isWanted(key, wanted)));
  if (fitting.length === 1) return fitting[0] as AgentKey;
  if (fitting.length > 1) {
    const what =
      wanted === undefined ? 'that amesh can use' : `with the comment ${JSON.stringify(plain(wanted))}`;
    throw new AmeshError(
      KEY_CODES.key_not_chosen,
      `The SSH agent has ${fitting.length} keys ${what}: ${namesOf(fitting)}.`,
    );
  }
  if (wanted === undefined) throw nothingUsable(keys);
  throw notThere(keys, usable, wanted);
}

/** Why none of these keys can be used. */
export function nothingUsable(keys: readonly AgentKey[]): AmeshError {
  if (keys.length === 0)
    return new AmeshError(KEY_CODES.key_not_chosen, 'The SSH agent lists no keys: it is empty, or locked.', {
      ...MAKE_ONE,
      fix: 'If it is locked, unlock it with ssh-add -X. Otherwise make a key for amesh, and add it with ssh-add',
    });
  const types = [...new Set(keys.map(({ blob }) => nameOfType(blob)))].slice(0, MAX_LISTED).join(', ');
  return new AmeshError(
    KEY_CODES.key_not_chosen,
    `The SSH agent has no key that amesh can use: it has ${types}, and amesh needs ${KEY_TYPE}.`,
    MAKE_ONE,
  );
}

/** `SHA256:… (comment), …` */
export function namesOf(keys: readonly AgentKey[]): string {
  const names = keys
    .slice(0, MAX_LISTED)
    .map(({ blob, comment }) => `${fingerprintOf(blob)} (${plain(comment)})`);
  const more = keys.length - names.length;
  return more > 0 ? `${names.join(', ')}, and ${more} more` : names.join(', ');
}

/** A comment is never compared with a fingerprint: a machine to which an agent is forwarded can add keys with any comment. */
function isWanted({ blob, comment }: AgentKey, wanted: string): boolean {
  return wanted.startsWith('SHA256:') ? fingerprintOf(blob) === wanted.replace(/=$/, '') : comment === wanted;
}

function notThere(keys: readonly AgentKey[], usable: readonly AgentKey[], wanted: string): AmeshError {
  const text = JSON.stringify(plain(wanted));
  const other = keys.find((key) => isWanted(key, wanted));
  if (other !== undefined)
    return new AmeshError(
      KEY_CODES.key_not_chosen,
      `The key ${text} is of the type ${nameOfType(other.blob)}, and amesh needs ${KEY_TYPE}.`,
      MAKE_ONE,
    );
  if (usable.length === 0) return nothingUsable(keys);
  return new AmeshError(
    KEY_CODES.key_not_chosen,
    `The SSH agent has no key ${text}. It has ${namesOf(usable)}.`,
  );
}

/** The type of a key for messages: an agent can send any text. */
function nameOfType(blob: Uint8Array): string {
  const type = plain(typeOf(blob));
  return type === KEY_TYPE ? `a damaged ${KEY_TYPE}` : type;
}
