/** What a request claims about its signature, from either header format. None of it is proven yet. */
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
  /** The names of the covered components, in order; null for the fixed list. */
  readonly covered: readonly string[] | null;
  /** The value of "@signature-params" as sent; null if it follows from the other values. */
  readonly parameters: string | null;
}

/** The tag of amesh signatures. */
export const TAG = 'amesh';

const DEVICE_ID = /^am_[A-Za-z0-9_-]{16}$/;
const NONCE = /^[A-Za-z0-9_-]{22}$/;

export function isDeviceId(text: string): boolean {
  return DEVICE_ID.test(text);
}

export function isNonce(text: string): boolean {
  return NONCE.test(text);
}
