import type { CryptoProvider, PrivateJwk, Signer } from '../crypto/provider';
import { readStatement, type Statement } from './read-statement';
import type { StatementKind } from './statement';

/** A key with the statement about it, read from a secret text. */
export interface KeyText {
  /** The text of the statement. */
  readonly text: string;
  readonly statement: Statement;
  /** Secret. */
  readonly jwk: PrivateJwk;
  /** What follows the statement: the keys and authorities of the targets, which the statement does not contain. */
  readonly targetKeys: readonly string[];
}

/** The beginning of the text of a delegation and of an answer key, by which people and secret scanners recognise it. */
export const KEY_PREFIXES = /* @__PURE__ */ Object.freeze({
  request: 'amesh_delegation_',
  answer: 'amesh_answer_key_',
} satisfies Record<StatementKind, string>);

const FORM = /^([A-Za-z0-9_-]{43})\.([\w-]+\.[\w-]+\.[\w-]+)((?:\.[\w-]{44}~?(?:@[\w-]{1,6000})?)*)$/;

/**
 * Reads a private key and the statement about it.
 *
 * @returns null for any other text. Only {@link openKeyText} checks that the private key is the one in the statement
 */
export function readKeyText(kind: StatementKind, text: unknown): KeyText | null {
  const prefix = KEY_PREFIXES[kind];
  if (typeof text !== 'string' || !text.startsWith(prefix)) return null;
  const [, d = '', words = '', more = ''] = FORM.exec(text.slice(prefix.length)) ?? [];
  const statement = readStatement(words, kind);
  if (statement === null || (kind === 'answer' && more !== '')) return null;
  const { x, y } = statement;
  return {
    text: words,
    statement,
    jwk: { kty: 'EC', crv: 'P-256', x, y, d },
    targetKeys: more.split('.').slice(1),
  };
}

/** @returns null if the private key is not the one in the statement. The error has no cause, since it may quote the key */
export async function openKeyText(
  { jwk }: KeyText,
  crypto: Pick<CryptoProvider, 'importPrivateKey'>,
): Promise<Signer | null> {
  try {
    return await crypto.importPrivateKey(jwk);
  } catch {
    return null;
  }
}

/** The secret text: the private key, the statement about it, and the keys of targets, if there are any. */
export function toKeyText(
  kind: StatementKind,
  d: string,
  statement: string,
  targetKeys: readonly string[] = [],
): string {
  return `${KEY_PREFIXES[kind]}${[d, statement, ...targetKeys].join('.')}`;
}
