import { cryptoProvider } from '#crypto';
import { deviceIdOf } from '../core/devices/allow-list';
import { fromBase64Url } from '../core/encoding';
import { AmeshError } from '../core/errors/amesh-error';
import { TRUST_CODES } from './errors/codes';
import type { DeviceIdentity } from './identity';
import { cleanName } from './names';

const PREFIX = 'amesh-p256';
/** The prefix of a line for a machine that cannot prove its answers. */
const UNPROVEN_PREFIX = `${PREFIX}/no-proofs`;
const MAX_LENGTH = 1024;

/** The content of a trust line. The device ID is derived from the key. */
export interface TrustLine {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** Shown to people: at most 64 code points. */
  readonly friendlyName: string;
  /** False if the machine cannot prove its answers. Absent: it can. */
  readonly proves?: false;
}

/**
 * The one line that `amesh trust export` prints: `amesh-p256 <base64url 33-byte key> <friendly name>`. It begins with
 * `amesh-p256/no-proofs` if `proves` is false.
 */
export function toTrustLine(
  identity: Pick<DeviceIdentity, 'publicKey' | 'friendlyName'> & {
    /** Whether the machine can prove its answers; default true. */
    readonly proves?: boolean | undefined;
  },
): string {
  const prefix = identity.proves === false ? UNPROVEN_PREFIX : PREFIX;
  return `${prefix} ${identity.publicKey} ${cleanName(identity.friendlyName)}`; // cleaned, because identity.json is not sealed
}

/**
 * Parses a line of {@link toTrustLine}. White space around it is allowed.
 *
 * @throws AmeshError `malformed_trust_line`, also for a key that is not a point on the curve
 */
export async function fromTrustLine(text: string): Promise<TrustLine> {
  const line = text.trim();
  const match =
    line.length > MAX_LENGTH
      ? null
      : /^amesh-p256(\/no-proofs)? +([A-Za-z0-9_-]{44})(?: +([^\r\n]+))?$/.exec(line);
  const publicKey = match?.[2] ?? '';
  const point = fromBase64Url(publicKey);
  if (match === null || point === null) throw new AmeshError(TRUST_CODES.malformed_trust_line);
  try {
    await cryptoProvider.importPublicKey(point);
  } catch {
    throw new AmeshError(
      TRUST_CODES.malformed_trust_line,
      'The key in this line is not a point on the P-256 curve.',
    );
  }
  return {
    deviceId: await deviceIdOf(point, cryptoProvider),
    publicKey,
    friendlyName: cleanName(match[3] ?? ''),
    ...(match[1] !== undefined && { proves: false }),
  };
}
