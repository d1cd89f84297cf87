import { answerKeyOf } from '../../core/answers/answer-key';
import type { AnswerSigner } from '../../core/answers/sign-answer';
import type { MaybePromise, Signer } from '../../core/crypto/provider';
import { toBase64Url } from '../../core/encoding';
import { momentText } from '../../core/moment';
import { withWorkingKey } from '../../core/statements/working-key';
import { warnOnce } from '../../process/log';

/** The keys in memory for one device whose own key is slow. Each is made when it is first needed. */
interface Shared {
  /** The device key as it was opened last: an earlier opening may have had another PIN. */
  device: Signer;
  readonly working: Signer;
  readonly answers: () => MaybePromise<AnswerSigner>;
}

const shared = new Map<string, Shared>();

/**
 * A signer that signs requests with a working key. In a process, a device has only one working key, however many instances open the
 * device.
 */
export function withSharedWorkingKey(signer: Signer): Signer {
  const entry = sharedOf(signer);
  return {
    publicKey: signer.publicKey,
    sign: (message) => signer.sign(message),
    requestSigner: () => (entry.working.requestSigner as NonNullable<Signer['requestSigner']>)(),
  };
}

/** The only answer key that a device has in this process. */
export function sharedAnswerKey(signer: Signer): () => MaybePromise<AnswerSigner> {
  return sharedOf(signer).answers;
}

function sharedOf(signer: Signer): Shared {
  const name = toBase64Url(signer.publicKey);
  const entry = shared.get(name) ?? create(signer);
  entry.device = signer;
  shared.set(name, entry);
  return entry;
}

function create(signer: Signer): Shared {
  const device: Signer = { publicKey: signer.publicKey, sign: (message) => entry.device.sign(message) };
  const entry: Shared = {
    device: signer,
    working: withWorkingKey(device, {
      onRenewalFailure: tell('working key', 'signs requests', 'they fail'),
    }),
    answers: answerKeyOf(device, {
      onRenewalFailure: tell('answer key', 'signs answers', 'they go out unsigned'),
    }),
  };
  return entry;
}

function tell(key: string, serves: string, then: string): (error: unknown, untilMs: number) => void {
  return (error, untilMs) => {
    const why = error instanceof Error ? error.message : String(error);
    warnOnce(
      `The ${key} of this process could not be renewed: ${why} It still ${serves} until ${momentText(untilMs)}; after that ${then}.`,
    );
  };
}
