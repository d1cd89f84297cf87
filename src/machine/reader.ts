import type { Bootstrap } from '../bootstrap/bootstrap';
import { isLeaseDue } from '../bootstrap/grants/leases';
import type { Acceptance } from '../bootstrap/provision/acceptance';
import type { AllowListSource } from '../core/devices/allow-list';
import { isAmeshError } from '../core/errors/amesh-error';
import type { Log } from '../process/log';
import { type Device, openTrust } from '../trust/device';
import type { ListStore } from '../trust/list/list-store';
import { toOwnerKey } from '../trust/owner-key';
import { Sightings } from '../trust/sightings';
import { EndWatch } from './end-watch';
import { listSource } from './list-source';
import { bootstrapOf, type Machine, startServing } from './machine';
import { CANNOT_RENEW, noKeyToCallWith } from './notices';
import type { AmeshSettings } from './options';
import { deviceOf, type Place } from './place';

/** A machine with only the public key of a list's owner (AMESH_OWNER_KEY). It reads the list but cannot change it. */
export class Reader implements Machine {
  readonly log: Log;
  readonly device: () => Promise<Device>;
  readonly bootstrap: Bootstrap;
  readonly list: AllowListSource;
  readonly enroller = undefined;
  readonly #place: Place;
  readonly #ownerKey: Uint8Array;
  readonly #sightings: Sightings;
  readonly #ends: EndWatch;
  #opening: Promise<ListStore> | undefined;
  #isServing = false;

  /** @param ownerKey 33 bytes, a compressed point of P-256 */
  constructor(place: Place, ownerKey: Uint8Array, settings: AmeshSettings) {
    const open = deviceOf(place);
    const trust = () => this.#trust();
    this.#place = place;
    this.#ownerKey = ownerKey;
    this.log = place.log;
    this.device = () =>
      open().catch((error) => {
        const isKeyless = isAmeshError(error) && error.code === 'no_identity';
        throw isKeyless ? noKeyToCallWith(place.dir) : error;
      });
    this.list = listSource(place, settings.sharing, trust);
    this.bootstrap = bootstrapOf(place, settings, { device: this.device, isReader: true });
    this.#sightings = new Sightings({ trust, list: this.list });
    this.#ends = new EndWatch({ list: this.list, tell: this.log.once });
  }

  serve(): void {
    const { bootstrap, list } = this;
    if (!this.#isServing) startServing(this.#place, { bootstrap, list, isReader: true, ends: this.#ends });
    this.#isServing = true;
  }

  noteAccepted({ device, list }: Acceptance): undefined {
    this.#ends.start(); // where nothing tells that the server listens
    this.#sightings.note(device.deviceId);
    if (isLeaseDue(device, list)) this.log.once(CANNOT_RENEW);
  }

  #trust(): Promise<ListStore> {
    const { store, shared } = this.#place;
    this.#opening ??= toOwnerKey(this.#ownerKey).then((owner) =>
      openTrust(store, owner, owner.deviceId, shared),
    );
    return this.#opening;
  }
}
