import type { CryptoProvider, PublicKey } from '../crypto/provider';
import { equalBytes, fromBase64, toUtf8 } from '../encoding';
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
import { answerParameters, createAnswerBase } from './base';
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

/** Like {@link verifyAnswer}, but it tells apart the case that a key of the target has named two next keys. */
export async function checkAnswer(
  answer: AnswerView,
  expected: ExpectedAnswer,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<ProvenHead | Unproven> {
  const claimed = readMember(answer.headers);
  if (typeof claimed === 'string') return claimed;
  const { covered, created, signature } = claimed;
  if (claimed.nonce !== expected.nonce) return 'it answers another request';
  const missing = coveredFields(answer.headers).find((name) => !covered.includes(name));
  if (missing !== undefined) return `its signature does not cover ${missing}`;
  const signer = await findSigner(answer.headers, claimed.deviceId, expected, crypto);
  if (isUnproven(signer)) return signer;
  const key = await keyOf(answer.headers, created, signer, expected.nowMs, crypto);
  if (typeof key === 'string') return key;
  const parameters = answerParameters(covered, claimed);
  const headers = await signedHeaders(answer, covered, parameters, signature, key);
  if (headers === null) return 'its signature does not match: it was changed, or is not from this target';
  if (answer.status === 206 && !expected.asksForPart) return 'it is a part that nobody asked for';
  if (answer.status === 304 && !expected.isConditional)
    return 'it refers to an earlier answer that nobody named';
  const head = toHead(answer.status, headers, created, expected.method);
  const { succession } = signer;
  return typeof head === 'string' || succession === undefined ? head : { ...head, succession };
}

/** The target in whose name an answer is signed. */
interface AnswerOrigin {
  readonly deviceId: string;
  readonly key: PublicKey;
  /** The statement that names this key, if the caller did not know the key. */
  readonly succession?: Rotation;
}

/** Finds the target by the key that the caller knows, by a former key that still counts, or by the next key. */
async function findSigner(
  headers: HeaderLines,
  deviceId: string,
  expected: ExpectedAnswer,
  crypto: Pick<CryptoProvider, 'sha256' | 'importPublicKey'>,
): Promise<AnswerOrigin | Unproven> {
  const { key, publicKey, former = [], nowMs } = expected;
  if (deviceId === expected.deviceId) return { deviceId, key };
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

interface Claimed {
  readonly covered: readonly string[];
  readonly created: number;
  readonly nonce: string;
  readonly deviceId: string;
  readonly signature: Uint8Array;
}

// The text to verify is written from what this finds, so nothing needs to be parsed more strictly.
const INPUT =
  /(?:^|,)[ \t]*amesh=\("@status"((?: "[a-z0-9-]{1,64}"(?:;bs)?){0,48})\);created=(0|[1-9]\d{0,11});nonce="([\w-]{43})";keyid="(am_[\w-]{16})";tag="amesh-answer"[ \t]*(?=,|$)/g;
const SIGNATURE = /(?:^|,)[ \t]*amesh=:([A-Za-z0-9+/]{86}==):[ \t]*(?=,|$)/g;
const MAX_LENGTH = 8192;

function readMember(headers: HeaderLines): Claimed | string {
  const input = onlyMatch(INPUT, fieldValue(headers, 'signature-input'));
  const bytes = onlyMatch(SIGNATURE, fieldValue(headers, 'signature'));
  if (input === null || bytes === null) return 'it has no signature of amesh';
  const [, names = '', created, nonce = '', deviceId = ''] = input;
  const signature = fromBase64(bytes[1] as string);
  const covered: string[] = [];
  for (const identifier of names.split(' ').slice(1)) {
    const name = identifier.replace(/^"|"(?:;bs)?$/g, '');
    const isBinary = identifier.endsWith(';bs');
    if (isBinary !== (name === 'set-cookie') || covered.includes(name))
      return 'it has a signature of another kind';
    covered.push(name);
  }
  if (signature === null) return 'it has no signature of amesh';
  return { covered, created: Number(created), nonce, deviceId, signature };
}

function onlyMatch(pattern: RegExp, value: string | undefined): RegExpMatchArray | null {
  if (value === undefined || value.length > MAX_LENGTH) return null;
  const [first, second] = value.matchAll(pattern);
  return second === undefined ? (first ?? null) : null;
}

/** The key that must have signed: the key of the target, or an answer key that the target vouches for. */
async function keyOf(
  headers: HeaderLines,
  created: number,
  { deviceId, key }: AnswerOrigin,
  nowMs: number,
  crypto: Pick<CryptoProvider, 'importPublicKey'>,
): Promise<PublicKey | string> {
  const text = fieldValue(headers, KEY_HEADER);
  if (text === undefined) return key;
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

async function signedHeaders(
  answer: AnswerView,
  covered: readonly string[],
  parameters: string,
  signature: Uint8Array,
  key: PublicKey,
): Promise<HeaderLines | null> {
  for (const headers of spellings(answer.headers)) {
    const base = createAnswerBase({ status: answer.status, headers }, covered, parameters);
    if (base === null || (await key.verify(signature, toUtf8(base))) !== true) continue;
    return Object.fromEntries(covered.map((name) => [name, headers[name]]));
  }
  return null;
}

/** A proxy that compresses turns a strong ETag into a weak one, which promises less. */
function spellings(headers: HeaderLines): HeaderLines[] {
  const etag = fieldValue(headers, 'etag');
  if (etag === undefined || !etag.startsWith('W/')) return [headers];
  return [headers, { ...headers, etag: etag.slice(2) }];
}

function toHead(status: number, headers: HeaderLines, created: number, method: string): ProvenHead | string {
  const text = fieldValue(headers, DIGEST_HEADER);
  const digest = text === undefined ? null : readPlainDigest(text);
  if (text !== undefined && digest === null) return 'its Unencoded-Digest has no SHA-256 digest';
  const hasBody = mayHaveBody(method, status);
  const isStream = hasBody && digest === null;
  if (isStream && fieldValue(headers, BODY_HEADER) !== 'unsigned')
    return 'its signature covers neither a digest of its body nor that there is none';
  return { created, headers, digest: hasBody ? digest : null, isStream };
}
