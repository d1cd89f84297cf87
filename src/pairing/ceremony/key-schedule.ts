import { helloBytes } from './key-exchange';
import { lp } from './length-prefix';
import { hkdf, sha256 } from './suite';

const LABEL = 'amesh-pair/1';

/** The commitment in M1. With it, the controller cannot choose its key and nonce after seeing the target's. */
export function commitment(eC: Uint8Array, nC: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  return sha256(lp(LABEL, 'commit', eC, nC));
}

export interface KeySchedule {
  /** The hash of all unencrypted messages and of the pairing code: 32 bytes. */
  readonly th: Uint8Array<ArrayBuffer>;
  /** 32 bytes. */
  readonly c2t: Uint8Array<ArrayBuffer>;
  /** 32 bytes. */
  readonly t2c: Uint8Array<ArrayBuffer>;
  /** Six digits. The code does not depend on long-term keys: otherwise a relay could try keys until the codes match. */
  readonly verificationCode: string;
}

/**
 * @param z the x coordinate of the shared point, 32 bytes
 * @param code the pairing code, six digits
 * @param clear M1, M2 and M3, exactly as sent
 */
export async function deriveKeys(
  z: Uint8Array,
  code: string,
  clear: readonly [string, string, string],
): Promise<KeySchedule> {
  const th = await sha256(lp(LABEL, 'transcript', code, ...clear.map(helloBytes)));
  const [c2t, t2c, digits] = await Promise.all([
    hkdf(z, th, `${LABEL} key c2t`, 32),
    hkdf(z, th, `${LABEL} key t2c`, 32),
    hkdf(z, th, `${LABEL} verification code`, 8),
  ]);
  const number = new DataView(digits.buffer).getBigUint64(0) % 1_000_000n;
  return { th, c2t, t2c, verificationCode: number.toString().padStart(6, '0') };
}
