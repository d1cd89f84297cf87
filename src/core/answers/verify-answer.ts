import { andThen } from '../and-then';
import type { CryptoProvider, MaybePromise, PublicKey } from '../crypto/provider';
import { equalBytes, toUtf8 } from '../encoding';
import { MAX_CLOCK_SKEW_SECONDS } from '../nonces/nonce-store';
import { isInTime, type Rotation } from '../rotation/rotation';
import { readStatement } from '../statements/read-statement';
import { readPlainDigest } from '../wire/digest';
import { fieldValue, type HeaderLines } from '../wire/view';
import {
  type AnswerView,
  BODY_HEADER,
  coveredFields,
  DIGEST_HEADER,
  KEY_HEADER,
  mayHaveBody,
} from './answer';
import { type Claimed, readMember } from './answer-signature';
import { createAnswerBase } from './base';
import { readSuccession, SUCCESSION_HEADER } from './succession';

/** What a client knows about the answer that it waits for. */
export interface ExpectedAnswer {
  /** The method of the request. */
  readonly method: string;
  /** 43 characters, see `answerNonce()`. */
  readonly nonce: string;
  /** Whether the request asked for a part of the content, so that 206 may come. */
  readonly asksForPart: boolean;
  /** Whether the request had a condition, so that 304 may come. */
  readonly isConditional: boolean;
  /** The device ID of the target that was called: that of its present key. */
  readonly deviceId: string;
  /** The key of that target. */
  readonly key: PublicKey;
  /** The same key, 33 bytes: it checks a statement of the target about its next key. Default: no such statement counts. */
  readonly publicKey?: Uint8Array | undefined;
  /** Keys that the target had before, and that still count. Default: none. */
  readonly former?:
    | readonly {
        /** The device ID of the key. */
        readonly deviceId: string;
        /** The key. */
        readonly key: PublicKey;
      }[]
    | undefined;
  /**
   * The clock of the caller, Unix milliseconds. An answer key does not count 300 s after its end, whatever time its answer
   * claims.
   */
  readonly nowMs: number;
}

/** A proven head of an answer. */
export interface ProvenHead {
  /** By the clock of the target, Unix seconds. */
  readonly created: number;
  /** The covered fields as they were signed, by lower-case name. */
  readonly headers: HeaderLines;
  /** The SHA-256 of the body, 32 bytes; null if it has none, or is not signed. */
  readonly digest: Uint8Array | null;
  /** Whether a body may follow that is not signed. */
  readonly isStream: boolean;
  /** What the target says about the key in whose name the answer is signed, if the caller did not know that yet. */
  readonly succession?: Rotation | undefined;
}

/**
 * Checks that a target has given this answer to this request.
 *
 * @returns the proven head; or a text that says why it is not proven, as the end of a sentence
 * @see docs/protocol.md, "Proven answers"
 */
export async function verifyAnswer(
  answer: AnswerView,
  expected: ExpectedAnswer,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<ProvenHead | string> {
  const checked = await checkAnswer(answer, expected, crypto);
  return isUnproven(checked) ? String(checked) : checked;
}

/** The answer is not proven, and a key of the target has named two next keys: somebody else has that key, too. */
export class TwoNextKeys {
  /** @param why as the end of a sentence */
  constructor(readonly why: string) {}

  toString(): string {
    return this.why;
  }
}

/** Why an answer is not proven, as the end of a sentence. */
export type Unproven = string | TwoNextKeys;

/** Whether an answer is not proven. */
export function isUnproven(result: object | Unproven): result is Unproven {
  return typeof result === 'string' || result instanceof TwoNextKeys;
}

/**
 * Like {@link verifyAnswer}, but it tells apart the case that a key of the target has named two next keys, and returns a promise only if
 * it has to wait.
 */
export function checkAnswer(
  answer: AnswerView,
  expected: ExpectedAnswer,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): MaybePromise<ProvenHead | Unproven> {
  const { headers, status } = answer;
  const claimed = readMember(headers);
  if (typeof claimed === 'string') return claimed;
  const { covered, created } = claimed;
  if (claimed.nonce !== expected.nonce) return 'it answers another request';
  const missing = coveredFields(headers).find((name) => !covered.includes(name));
  if (missing !== undefined) return `its signature does not cover ${missing}`;
  return andThen(findSigner(headers, claimed.deviceId, expected, crypto), (signer) => {
    if (isUnproven(signer)) return signer;
    return andThen(keyOf(headers, created, signer, expected.nowMs, crypto), (key) => {
      if (typeof key === 'string') return key;
      return andThen(signedHeaders(answer, claimed, key), (signed) => {
        if (signed === null)
          return 'its signature does not match: it was changed, or is not from this target';
        if (status === 206 && !expected.asksForPart) return 'it is a part that nobody asked for';
        if (status === 304 && !expected.isConditional)
          return 'it refers to an earlier answer that nobody named';
        return toHead(status, signed, created, expected.method, signer.succession);
      });
    });
  });
}

/** The target in whose name an answer is signed. */
interface AnswerOrigin {
  readonly deviceId: string;
  readonly key: PublicKey;
  /** The statement that names this key, if the caller did not know the key. */
  readonly succession?: Rotation;
}

/** Finds the target by the key that the caller knows, by a former key that still counts, or by the next key. */
function findSigner(
  headers: HeaderLines,
  deviceId: string,
  expected: ExpectedAnswer,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): MaybePromise<AnswerOrigin | Unproven> {
  return deviceId === expected.deviceId ? expected : findOther(headers, deviceId, expected, crypto);
}

async function findOther(
  headers: HeaderLines,
  deviceId: string,
  expected: ExpectedAnswer,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<AnswerOrigin | Unproven> {
  const { publicKey, former = [], nowMs } = expected;
  const text = fieldValue(headers, SUCCESSION_HEADER);
  const succession =
    text === undefined || publicKey === undefined ? null : await readSuccession(text, crypto);
  const known = former.find((each) => each.deviceId === deviceId);
  if (known !== undefined) {
    // The target may have gone back from its present key to a former one.
    const isBack =
      succession?.nextId === deviceId && equalBytes(succession.formerKey, publicKey as Uint8Array);
    return isBack && isInTime(succession, nowMs) ? { ...known, succession } : known;
  }
  if (text === undefined || publicKey === undefined) return `it is signed by ${deviceId}`;
  if (succession?.nextId !== deviceId)
    return `it is signed by ${deviceId}, and has no statement of this target about that key`;
  if (!equalBytes(succession.formerKey, publicKey)) {
    return former.some((each) => each.deviceId === succession.formerId)
      ? new TwoNextKeys(
          `${succession.formerId} has named two next keys, ${expected.deviceId} and ${deviceId}, so somebody else has its key`,
        )
      : `it is signed by ${deviceId}, which ${succession.formerId} has named, and not this target`;
  }
  if (!isInTime(succession, nowMs))
    return 'the statement of this target about its next key does not count at this time';
  return { deviceId, key: await crypto.importPublicKey(succession.nextKey), succession };
}

/** The key that must have signed: the key of the target, or an answer key that the target vouches for. */
function keyOf(
  headers: HeaderLines,
  created: number,
  origin: AnswerOrigin,
  nowMs: number,
  crypto: Pick<CryptoProvider, 'importPublicKey'>,
): MaybePromise<PublicKey | string> {
  const text = fieldValue(headers, KEY_HEADER);
  return text === undefined ? origin.key : answerKeyOf(text, created, origin, nowMs, crypto);
}

async function answerKeyOf(
  text: string,
  created: number,
  { deviceId, key }: AnswerOrigin,
  nowMs: number,
  crypto: Pick<CryptoProvider, 'importPublicKey'>,
): Promise<PublicKey | string> {
  const statement = readStatement(text, 'answer');
  if (statement === null || statement.deviceId !== deviceId)
    return 'its answer key has no statement of this target';
  if (created < statement.issuedAt || created > statement.expiresAt)
    return 'the statement about its answer key does not cover that time';
  // Somebody who has stolen the answer key can set the time of an answer back.
  if (nowMs > (statement.expiresAt + MAX_CLOCK_SKEW_SECONDS) * 1000) return 'its answer key has ended';
  if ((await key.verify(statement.signature, toUtf8(statement.input))) !== true)
    return 'the statement about its answer key is not signed by this target';
  return crypto.importPublicKey(statement.publicKey);
}

/** The covered fields as they were signed; null if the signature does not match. */
function signedHeaders(
  { status, headers: received }: AnswerView,
  { covered, parameters, signature }: Claimed,
  key: PublicKey,
): MaybePromise<HeaderLines | null> {
  const check = (headers: HeaderLines): MaybePromise<HeaderLines | null> => {
    const base = createAnswerBase({ status, headers }, covered, parameters);
    if (base === null) return null;
    return andThen(key.verify(signature, toUtf8(base)), (isRight) =>
      isRight === true ? Object.fromEntries(covered.map((name) => [name, headers[name]])) : null,
    );
  };
  return andThen(check(received), (signed) =>
    earlier(received).reduce<MaybePromise<HeaderLines | null>>(
      (known, headers) => andThen(known, (found) => found ?? check(headers)),
      signed,
    ),
  );
}

/**
 * The headers as they may have been signed, if they are not as they were: a proxy that compresses turns a strong ETag into a weak one,
 * which promises less, and Express and proxies add the charset that a text has anyway. Only what was signed counts then.
 */
function earlier(received: HeaderLines): HeaderLines[] {
  const [etag, type] = [fieldValue(received, 'etag'), fieldValue(received, 'content-type')];
  const strong = etag?.startsWith('W/') && { etag: etag.slice(2) };
  const plain = type?.replace(/;[ \t]*charset=utf-8$/i, '');
  const untold = plain !== type && !/^$|charset/i.test(plain ?? '') && { 'content-type': plain };
  return [strong, untold, strong && untold && { ...strong, ...untold }].flatMap((change) =>
    change ? [{ ...received, ...change }] : [],
  );
}

function toHead(
  status: number,
  headers: HeaderLines,
  created: number,
  method: string,
  succession: Rotation | undefined,
): ProvenHead | string {
  const text = fieldValue(headers, DIGEST_HEADER);
  const digest = text === undefined ? null : readPlainDigest(text);
  if (text !== undefined && digest === null) return 'its Unencoded-Digest has no SHA-256 digest';
  const hasBody = mayHaveBody(method, status);
  const isStream = hasBody && digest === null;
  if (isStream && fieldValue(headers, BODY_HEADER) !== 'unsigned')
    return 'its signature covers neither a digest of its body nor that there is none';
  return { created, headers, digest: hasBody ? digest : null, isStream, succession };
}
