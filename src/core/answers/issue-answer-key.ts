import { cryptoProvider } from '#crypto';
import type { CryptoProvider, Signer } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { toBase64Url } from '../encoding';
import { isWithin } from '../options';
import { toKeyText } from '../statements/key-text';
import { periodFrom, signStatement } from '../statements/sign-statement';
import { STATEMENT_LIMITS } from '../statements/statement';

/** How to make an answer key. */
export interface IssueAnswerKeyOptions {
  /** In seconds: 60 to 7,776,000, which is 90 days. */
  readonly lifetimeSeconds: number;
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
  /** The clock, Unix milliseconds; default `Date.now`. */
  readonly now?: (() => number) | undefined;
}

/** An answer key that was made. */
export interface IssuedAnswerKey {
  /** For AMESH_ANSWER_KEY. A secret. */
  readonly text: string;
  /** The ID of the device in whose name it signs. */
  readonly deviceId: string;
  /** Unix seconds: the moment at which it ends. */
  readonly expiresAt: number;
}

/**
 * Makes an answer key for instances that have no private key. The device keeps no record of it, and nothing revokes it before
 * its end.
 *
 * @param signer signs with the device key
 * @throws TypeError for a wrong option; what the signer throws
 */
export async function issueAnswerKey(
  signer: Signer,
  { lifetimeSeconds, crypto = cryptoProvider, now = Date.now }: IssueAnswerKeyOptions,
): Promise<IssuedAnswerKey> {
  const { answerSeconds } = STATEMENT_LIMITS;
  if (!Number.isInteger(lifetimeSeconds) || !isWithin(lifetimeSeconds, 60, answerSeconds))
    throw new TypeError(`lifetimeSeconds is a whole number of seconds from 60 to ${answerSeconds}.`);
  const { x, y, d } = await crypto.generatePrivateKey();
  const deviceId = await deviceIdOf(signer.publicKey, crypto);
  const period = periodFrom('answer', now(), lifetimeSeconds);
  const id = toBase64Url(crypto.randomBytes(16));
  const statement = await signStatement({ kind: 'answer', deviceId, x, y, ...period, id }, signer);
  return { text: toKeyText('answer', d, statement), deviceId, expiresAt: period.expiresAt };
}
