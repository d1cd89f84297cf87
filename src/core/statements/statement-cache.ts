import type { PublicKey } from '../crypto/provider';
import type { AllowList } from '../devices/allow-list';
import type { Statement } from './read-statement';

/** A statement that its device has signed. */
export interface CheckedStatement extends Statement {
  /** The key of the device that signed it, as in the list. */
  readonly deviceKey: string;
  /** The working key. */
  readonly key: PublicKey;
  /** The ID that a device with the working key would have. */
  readonly keyId: string;
  /** The last list in which no device has that ID. Looking for an ID in a list takes 3 to 6 µs. */
  unlistedIn?: WeakRef<AllowList>;
}

const MAX_STATEMENTS = 10_000;
const MAX_OF_DEVICE = 64;

/**
 * The statements that were checked, by their texts, so that a request with a known statement needs only one signature check. The
 * cache has only statements that a device has signed, so its size limits memory, not trust. Only a request whose signature was
 * right displaces another statement; if the share of its device is full, it displaces a statement of the same device.
 */
export class StatementCache {
  readonly #devices = new Map<string, Map<string, CheckedStatement>>();
  #size = 0;

  get(deviceId: string, text: string): CheckedStatement | undefined {
    return this.#devices.get(deviceId)?.get(text);
  }

  /** Whether one of the working keys would give a device this ID. Looks through all of them. */
  has(keyId: string): boolean {
    for (const own of this.#devices.values())
      for (const statement of own.values()) if (statement.keyId === keyId) return true;
    return false;
  }

  /** Keeps the statement of a request that is not proven yet: only where there is room. */
  offer(text: string, statement: CheckedStatement): void {
    const count = this.#devices.get(statement.deviceId)?.size ?? 0;
    if (count < MAX_OF_DEVICE && this.#size < MAX_STATEMENTS) this.set(text, statement);
  }

  /** Keeps the statement of a request whose signature was right. */
  set(text: string, statement: CheckedStatement): void {
    const { deviceId } = statement;
    const own = this.#devices.get(deviceId) ?? new Map<string, CheckedStatement>();
    this.#drop(deviceId, own, text);
    if (own.size >= MAX_OF_DEVICE) this.#drop(deviceId, own, firstOf(own));
    if (this.#size >= MAX_STATEMENTS) {
      const oldest = firstOf(this.#devices);
      const others = this.#devices.get(oldest) as Map<string, CheckedStatement>;
      this.#drop(oldest, others, firstOf(others));
    }
    own.set(text, statement);
    this.#size++;
    // The device moves to the end, so that the device whose newest statement is the oldest loses one first.
    this.#devices.delete(deviceId);
    this.#devices.set(deviceId, own);
  }

  #drop(deviceId: string, from: Map<string, CheckedStatement>, text: string): void {
    if (!from.delete(text)) return;
    this.#size--;
    if (from.size === 0) this.#devices.delete(deviceId);
  }
}

function firstOf(map: Map<string, unknown>): string {
  return map.keys().next().value as string;
}
