import type { MaybePromise, Signer } from '../../core/crypto/provider';
import { equalBytes, fromBase64Url } from '../../core/encoding';
import type { FileStore } from '../../storage/files/file-store';
import { type Device, isRotated } from '../../trust/device';
import { type DeviceIdentity, IDENTITY_KEY, readIdentity } from '../../trust/identity';
import { isOf, type OwnRotation, ROTATION_KEY, readRotationFile } from './rotation-file';

/** How often to check whether the key of this machine was rotated. */
const CHECK_EVERY_MS = 250;

/** How long to wait before trying again to open a next key. */
const RETRY_MS = 30_000;

/** The keys of a device, as its requests need them. */
export interface OpenedKeys {
  readonly device: Pick<Device, 'identity' | 'signer'>;
  /** The rotation that led to the key of this device, until all targets know that key; null if there is none. */
  readonly rotation: OwnRotation | null;
  /** Opens the key that is being replaced. */
  readonly former: () => Promise<Signer>;
}

/** The device of this process, as it was opened last. */
export interface Opened extends OpenedKeys {
  readonly device: Device;
}

export interface LiveDeviceOptions {
  readonly store: FileStore;
  /** Opens the device of the folder. */
  readonly open: () => Promise<Device>;
  /** Opens the key of an identity in the folder. */
  readonly openKey: (identity: DeviceIdentity) => Promise<Signer>;
  /** Opens the device of the folder with the key that is being replaced. */
  readonly openFormer: (rotation: OwnRotation) => Promise<Device>;
  /** The same device, with the list as the folder has it now. */
  readonly reopenTrust: (device: Device) => Promise<Device>;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
}

interface Current {
  readonly opened: Opened;
  /** The stamp of the files from which it was opened. */
  readonly stamp: string;
  /** When to try again, by `performance.now()`; if the next key could not be opened. */
  readonly againAtMs?: number | undefined;
}

/**
 * The device of a running process. It is opened at the first use, and again if its key was rotated since. While the next key is
 * opened, and if it cannot be opened here, the process continues with the former key.
 */
export class LiveDevice {
  readonly #options: LiveDeviceOptions;
  #current: Current | undefined;
  #opening: Promise<Opened> | undefined;
  #checkedAtMs = 0;

  constructor(options: LiveDeviceOptions) {
    this.#options = options;
  }

  /** The device, for a request: it waits for a key only at the first use. Throws what `open` throws. */
  current(): MaybePromise<Opened> {
    const current = this.#current;
    if (current === undefined) return this.#first();
    if (performance.now() - this.#checkedAtMs >= CHECK_EVERY_MS && this.#isOld(current))
      this.#reopen(current).catch(() => {}); // the present key stays in use
    return current.opened;
  }

  /** The device as the folder has it now. Throws what `open` throws. */
  async fresh(): Promise<Opened> {
    const current = this.#current;
    if (current === undefined) return this.#first();
    return this.#isOld(current) ? this.#reopen(current) : current.opened;
  }

  #isOld({ stamp, againAtMs = Number.POSITIVE_INFINITY }: Current): boolean {
    this.#checkedAtMs = performance.now();
    return this.#checkedAtMs >= againAtMs || stamp !== this.#stamp();
  }

  #stamp(): string {
    const { store } = this.#options;
    return `${store.stamp(IDENTITY_KEY)} ${store.stamp(ROTATION_KEY)}`;
  }

  /** Opens the device once. After a failure the next call tries again: somebody may run `amesh init` in the meantime. */
  #first(): Promise<Opened> {
    return this.#once(async () => {
      const stamp = this.#stamp(); // taken before the files are read
      try {
        const device = await this.#options.open();
        return { opened: await this.#with(device, undefined), stamp };
      } catch (error) {
        const device = await this.#openFormer();
        if (device === undefined) throw error;
        return this.#without(device, error, stamp);
      }
    });
  }

  /** The device with its former key, for a process that starts and cannot use the next key; undefined if there is no former key. */
  async #openFormer(): Promise<Device | undefined> {
    const { store, openFormer } = this.#options;
    try {
      const [rotation, identity] = [await readRotationFile(store), await readIdentity(store)];
      const isReplaced =
        rotation?.withdrawnAt === undefined && identity?.deviceId === rotation?.next.deviceId;
      return rotation !== null && isReplaced ? await openFormer(rotation) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Continues with the former key. */
  #without(device: Device, error: unknown, stamp: string): Current {
    const why = error instanceof Error ? error.message : String(error);
    this.#options.tell(
      `The key of this machine was rotated, but this process cannot use the next key: ${why} It continues with the former key (${device.identity.deviceId}), which its targets accept for 30 days after they have accepted the next one.`,
    );
    const former = () => Promise.resolve(device.signer);
    return { opened: { device, rotation: null, former }, stamp, againAtMs: performance.now() + RETRY_MS };
  }

  #reopen(before: Current): Promise<Opened> {
    return this.#once(async () => {
      const stamp = this.#stamp();
      const { opened } = before;
      const identity = await readIdentity(this.#options.store).catch(() => null);
      if (identity === null) return { opened, stamp }; // whatever else needs the folder reports what is wrong with it
      if (await isRotated(identity, opened.device.signer)) return this.#follow(before, stamp);
      if (!isKeyOf(identity, opened.device.signer)) return { opened, stamp };
      const device = await this.#options.reopenTrust(opened.device);
      return { opened: await this.#with(device, opened), stamp };
    });
  }

  /** Opens the next key. */
  async #follow(before: Current, stamp: string): Promise<Current> {
    const { open, reopenTrust } = this.#options;
    const { opened } = before;
    try {
      const device = await open();
      device.trust.continueFrom(opened.device.trust);
      return { opened: await this.#with(device, opened), stamp };
    } catch (error) {
      return this.#without(await reopenTrust(opened.device), error, stamp);
    }
  }

  async #with(device: Device, before: Opened | undefined): Promise<Opened> {
    return { ...(await withRotation(device, this.#options, before)), device };
  }

  #once(make: () => Promise<Current>): Promise<Opened> {
    this.#opening ??= make()
      .then((current) => {
        this.#current = current;
        return current.opened;
      })
      .finally(() => {
        this.#opening = undefined;
      });
    return this.#opening;
  }
}

/** A device that was opened, with the rotation that led to its key. */
export async function withRotation(
  device: OpenedKeys['device'],
  { store, openKey }: Pick<LiveDeviceOptions, 'store' | 'openKey'>,
  before?: OpenedKeys,
): Promise<OpenedKeys> {
  const found = await readRotationFile(store).catch(() => null);
  const rotation = found !== null && isOn(found, device) ? found : null;
  const former =
    rotation === null
      ? () => Promise.reject(new Error('There is no former key.'))
      : formerOf(rotation, device, before, openKey);
  return { device, rotation, former };
}

/** Whether targets have to learn about a rotation: once the device has its next key, or has gone back to its former key. */
function isOn(rotation: OwnRotation, { identity, signer }: OpenedKeys['device']): boolean {
  const { former, next, withdrawnAt } = rotation;
  if (!isOf(rotation, identity)) return false;
  return isKeyOf(next, signer) || (withdrawnAt !== undefined && isKeyOf(former, signer));
}

/**
 * Opens the former key at the first use, unless this process has opened it already. After a failure, the next use tries again. It
 * is not opened before a request needs it, since opening a key may ask a person, or fail.
 */
function formerOf(
  { former }: OwnRotation,
  { signer }: OpenedKeys['device'],
  before: OpenedKeys | undefined,
  openKey: LiveDeviceOptions['openKey'],
): Opened['former'] {
  const open = [signer, before?.device.signer].find((key) => key !== undefined && isKeyOf(former, key));
  if (open !== undefined) return () => Promise.resolve(open);
  if (before?.rotation?.former.deviceId === former.deviceId) return before.former;
  let opening: Promise<Signer> | undefined;
  return () => {
    opening ??= openKey(former).catch((error) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
}

/** The device key itself, for statements that a working key must not sign. */
export function withoutWorkingKey(signer: Signer): Signer {
  return { publicKey: signer.publicKey, sign: (message) => signer.sign(message) };
}

function isKeyOf({ publicKey }: Pick<DeviceIdentity, 'publicKey'>, signer: Signer): boolean {
  const key = fromBase64Url(publicKey);
  return key !== null && equalBytes(key, signer.publicKey);
}
