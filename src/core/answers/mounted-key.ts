import { signingCrypto, verifyingCrypto } from '#crypto';
import { deviceIdOf } from '../devices/allow-list';
import { toUtf8 } from '../encoding';
import { openKeyText, readKeyText } from '../statements/key-text';
import type { AnswerSigner } from './sign-answer';

/** An answer key that was made elsewhere. */
export interface MountedKey {
  /** Unix seconds: from when on it may sign. */
  readonly issuedAt: number;
  /** Unix seconds: until when. */
  readonly expiresAt: number;
  /** Opens it, once. Rejects with a TypeError if the text is not a key, or the statement is not signed by the target. */
  readonly open: () => Promise<AnswerSigner>;
}

/** Whose list an instance reads. */
export interface ListOwners {
  /** The keys that may seal it: compressed points, 33 bytes. */
  readonly owners: readonly Uint8Array[];
  /** The device whose list it is; default the first owner. */
  readonly list?: string | undefined;
}

/** A text is not an answer key of this target. The error says why, as the end of a sentence, and how to fix it. */
export class NoAnswerKey extends TypeError {
  /**
   * Creates the error for one text.
   *
   * @param wrong what is wrong, as it follows the name of the variable
   * @param fix the fix: one sentence
   */
  constructor(
    /** What is wrong, as it follows the name of the variable. */
    readonly wrong: string,
    /** The fix: one sentence. */
    readonly fix: string,
  ) {
    super(`The answer key ${wrong} ${fix}`);
  }
}

const COPY = 'Copy the whole text that amesh answer-key printed: it begins with amesh_answer_key_.';

/**
 * Reads an answer key: a key with the target's statement about it.
 *
 * @throws NoAnswerKey if it is not an answer key, or belongs to another target; if hashing is asynchronous, `open()` rejects for
 *   another target instead
 */
export function readAnswerKey(given: unknown, { owners, list }: ListOwners): MountedKey {
  const read = readKeyText('answer', given);
  if (read === null) throw new NoAnswerKey('is malformed.', COPY);
  const { statement, text } = read;
  const { deviceId, issuedAt, expiresAt, input, signature } = statement;
  const ids = owners.map((owner) => deviceIdOf(owner, verifyingCrypto));
  const checked = ids.every((id) => typeof id === 'string')
    ? assertOwn(ids, deviceId, list)
    : Promise.all(ids).then((found) => assertOwn(found, deviceId, list));
  if (checked instanceof Promise) checked.catch(() => {}); // open() reports it
  const open = async (): Promise<AnswerSigner> => {
    const position = await checked;
    const owner = owners[position];
    const isSigned =
      owner === undefined ||
      (await (await verifyingCrypto.importPublicKey(owner)).verify(signature, toUtf8(input)));
    const key = await openKeyText(read, signingCrypto);
    if (!isSigned || key === null) throw new NoAnswerKey('was changed.', COPY);
    return { deviceId, statement: text, sign: (message) => key.sign(message) };
  };
  let opening: Promise<AnswerSigner> | undefined;
  return {
    issuedAt,
    expiresAt,
    open: () => {
      opening ??= open();
      return opening;
    },
  };
}

/** @returns the position of the owner that signed the key; -1 if the device whose list the owners have taken over did */
function assertOwn(ids: readonly string[], deviceId: string, list = ids[0]): number {
  const position = ids.indexOf(deviceId);
  if (position === -1 && deviceId !== list)
    throw new NoAnswerKey(
      `belongs to ${deviceId}, and this instance reads the list of ${list}.`,
      'Make one on the machine with the key of that list: amesh answer-key.',
    );
  return position;
}
