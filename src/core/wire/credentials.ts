/** What a request claims about its signature, out of either carrier. Nothing of it is proven yet. */
export interface Credentials {
  readonly form: 'authmesh' | 'rfc9421';
  readonly deviceId: string;
  /** Unix seconds. */
  readonly created: number;
  /** Unix seconds. */
  readonly expires?: number | undefined;
  /** 22 characters. */
  readonly nonce: string;
  /** 64 bytes, r‖s. */
  readonly signature: Uint8Array;
  /** Names of the covered components, in order; null for the fixed list. */
  readonly covered: readonly string[] | null;
  /** The value of "@signature-params" as sent; null where it follows from the rest. */
  readonly parameters: string | null;
}

/** The tag that marks a signature as amesh's. */
export const TAG = 'amesh';

const DEVICE_ID = /^am_[A-Za-z0-9_-]{16}$/;
const NONCE = /^[A-Za-z0-9_-]{22}$/;

export function isDeviceId(text: string): boolean {
  return DEVICE_ID.test(text);
}

export function isNonce(text: string): boolean {
  return NONCE.test(text);
}
