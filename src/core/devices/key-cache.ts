import type { MaybePromise, PublicKey, VerifyingCrypto } from '../crypto/provider';
import { fromBase64Url } from '../encoding';
import { AllowListIntegrityError } from '../errors/amesh-error';
import { deviceIdOf, type TrustedDevice } from './allow-list';

// The cache has only keys of devices in the allow list, so this limits memory, not trust.
const MAX_KEYS = 10_000;

type KeyedDevice = Pick<TrustedDevice, 'deviceId' | 'publicKey'>;

/** The imported keys of devices: importing a key costs more than a verify. */
export class KeyCache {
  readonly #crypto: VerifyingCrypto;
  readonly #keys = new Map<string, { readonly text: string; readonly key: PublicKey }>();

  constructor(crypto: VerifyingCrypto) {
    this.#crypto = crypto;
  }

  /**
   * @throws AllowListIntegrityError if the key does not match the device ID
   */
  keyOf(device: KeyedDevice): MaybePromise<PublicKey> {
    const known = this.#keys.get(device.deviceId);
    return known?.text === device.publicKey ? known.key : this.#import(device);
  }

  async #import({ deviceId, publicKey: text }: KeyedDevice): Promise<PublicKey> {
    const point = fromBase64Url(text);
    if (point === null || (await deviceIdOf(point, this.#crypto)) !== deviceId) {
      throw new AllowListIntegrityError(`The key of ${deviceId} does not match its ID.`);
    }
    const key = await this.#crypto.importPublicKey(point);
    if (this.#keys.size >= MAX_KEYS) this.#keys.delete(this.#keys.keys().next().value as string);
    this.#keys.set(deviceId, { text, key });
    return key;
  }
}
