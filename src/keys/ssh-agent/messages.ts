import { join, u32 } from '../slow/bytes';
import { Reader, string } from './bytes';
import { type AgentKey, KEY_TYPE } from './public-key';

// RFC 9987, "Secure Shell (SSH) Agent Protocol".
const TYPE = { failure: 5, requestIdentities: 11, identitiesAnswer: 12, signRequest: 13, signResponse: 14 };

/** The most bytes of a message, without its length: OpenSSH closes the connection for a longer one. */
export const MAX_MESSAGE = 256 * 1024;
/** A longer list of keys is refused; OpenSSH sends at most 2,048. */
const MAX_KEYS = 4096;

/** The error if the agent has refused. An agent never says why. */
export class AgentFailure extends Error {
  constructor() {
    super('The SSH agent responded with a failure.');
    this.name = 'AgentFailure';
  }
}

export function requestIdentities(): Uint8Array {
  return Uint8Array.of(TYPE.requestIdentities);
}

/**
 * @throws AgentFailure; RangeError for anything that is not a list of keys
 */
export function readIdentities(answer: Uint8Array): AgentKey[] {
  const reader = open(answer, TYPE.identitiesAnswer);
  const count = reader.u32();
  if (count > MAX_KEYS) throw new RangeError('too many keys');
  const keys: AgentKey[] = [];
  for (let i = 0; i < count; i++) keys.push({ blob: reader.string(), comment: reader.text() });
  reader.end();
  return keys;
}

/** The agent hashes the message itself. */
export function signRequest(blob: Uint8Array, message: Uint8Array): Uint8Array {
  return join(Uint8Array.of(TYPE.signRequest), string(blob), string(message), u32(0));
}

/**
 * @returns r‖s, 64 bytes
 * @throws AgentFailure; RangeError for anything that is not a signature of an `ecdsa-sha2-nistp256` key
 */
export function readSignature(answer: Uint8Array): Uint8Array {
  const reader = open(answer, TYPE.signResponse);
  const signature = new Reader(reader.string());
  reader.end();
  if (signature.text() !== KEY_TYPE) throw new RangeError('a signature of another kind');
  const numbers = new Reader(signature.string());
  signature.end();
  const [r, s] = [toElement(numbers.string()), toElement(numbers.string())];
  numbers.end();
  return join(r, s);
}

function open(answer: Uint8Array, type: number): Reader {
  const reader = new Reader(answer);
  const found = reader.u8();
  if (found === TYPE.failure && answer.length === 1) throw new AgentFailure();
  if (found !== type) throw new RangeError(`a message of type ${found}`);
  return reader;
}

/**
 * A positive `mpint` (RFC 4251 section 5) as 32 bytes. Unnecessary leading zeros are allowed, as in OpenSSH: some agents send them
 * in one of 128 signatures.
 */
function toElement(mpint: Uint8Array): Uint8Array {
  if (mpint.length === 0 || mpint.length > 33) throw new RangeError('a number of another length');
  if ((mpint[0] as number) > 0x7f) throw new RangeError('a negative number');
  if (mpint.length === 33 && mpint[0] !== 0) throw new RangeError('a number that is too large');
  const bytes = mpint.length === 33 ? mpint.subarray(1) : mpint;
  if (bytes.every((byte) => byte === 0)) throw new RangeError('a zero');
  const element = new Uint8Array(32);
  element.set(bytes, 32 - bytes.length);
  return element;
}
