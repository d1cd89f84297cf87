import type { Bootstrap } from '../bootstrap/bootstrap';
import { isLeaseDue } from '../bootstrap/grants/leases';
import type { Acceptance } from '../bootstrap/provision/acceptance';
import type { AllowListSource } from '../core/devices/allow-list';
import { isAmeshError } from '../core/errors/amesh-error';
import type { AnswerHeaders } from '../core/verify/verdict';
import type { Log } from '../process/log';
import { hideSecret, readSecret } from '../process/secrets';
import { type Device, openTrust } from '../trust/device';
import type { ListStore } from '../trust/list/list-store';
import { type TrustVariables, toListTrust } from '../trust/owner-key';
import { Sightings } from '../trust/sightings';
import { ANSWER_KEY_VARIABLE, CANNOT_PROVE, mountAnswerKey } from './answers/mounted-answer-key';
import { EndWatch } from './ends/end-watch';
import { listSource } from './list-source';
import { bootstrapOf, type Machine, startServing } from './machine';
import { hasKeyOf } from './moved-list';
import { CANNOT_RENEW, noKeyToCallWith } from './notices';
import type { AmeshSettings } from './options';
import { liveDevice, type Place } from './place';
import { CallerRotation } from './rotation/caller-rotation';
import { CANNOT_ROTATE } from './rotation/cannot-rotate';
import { currentDevice } from './rotation/current-device';

/** The values of AMESH_OWNER_KEY and the variables that belong to it. */
type Owners = TrustVariables & { readonly owners: readonly Uint8Array[] };

/** A machine with only the public key of a list's owner (AMESH_OWNER_KEY). It reads the list, and cannot change it. */
export class Reader implements Machine {
  readonly log: Log;
  readonly device: () => Promise<Device>;
  readonly opened: Machine['opened'];
  readonly rotation: CallerRotation;
  readonly bootstrap: Bootstrap;
  readonly list: AllowListSource;
  readonly enroller = undefined;
  readonly answerSigner: Machine['answerSigner'] = undefined;
  readonly #place: Place;
  readonly #owners: Owners;
  readonly #sightings: Sightings;
  readonly #ends: EndWatch;
  #opening: Promise<ListStore> | undefined;
  #isServing = false;

  constructor(place: Place, owners: Owners, settings: AmeshSettings) {
    const live = liveDevice(place);
    const trust = () => this.#trust();
    this.#place = place;
    this.#owners = owners;
    this.log = place.log;
    const open = async () => {
      try {
        return await live.current();
      } catch (error) {
        const isKeyless = isAmeshError(error) && error.code === 'no_identity';
        throw isKeyless ? noKeyToCallWith(place.dir) : error;
      }
    };
    this.opened = open;
    this.device = async () => (await open()).device;
    this.rotation = new CallerRotation({
      store: place.store,
      tell: place.log.once,
      fetch: settings.fetch,
    });
    this.list = listSource(place, settings.sharing, trust);
    this.bootstrap = bootstrapOf(place, settings, { device: this.device, isReader: true });
    this.#sightings = new Sightings({ trust, list: this.list });
    const { dir, env } = place;
    const mounted = mountAnswerKey(readSecret(env, ANSWER_KEY_VARIABLE), owners, this.log);
    hideSecret(env, ANSWER_KEY_VARIABLE);
    if (mounted !== undefined) this.answerSigner = () => mounted.signer();
    else if (hasKeyOf(owners.owners, dir)) this.answerSigner = async () => (await this.device()).answers();
    this.#ends = new EndWatch({ list: this.list, tell: this.log.once, other: () => mounted?.warn() });
  }

  serve(): void {
    const { bootstrap, list } = this;
    if (this.answerSigner === undefined) this.log.once(CANNOT_PROVE);
    if (!this.#isServing) startServing(this.#place, { bootstrap, list, isReader: true, ends: this.#ends });
    this.#isServing = true;
  }

  noteAccepted({ device, list, isDelegate, rotation }: Acceptance): AnswerHeaders | undefined {
    this.#ends.start(); // for runtimes that do not reveal that the server listens
    const current = currentDevice(device, list);
    this.#sightings.note(current.deviceId);
    if (!isDelegate && isLeaseDue(current, list)) this.log.once(CANNOT_RENEW);
    return rotation === undefined ? undefined : CANNOT_ROTATE;
  }

  #trust(): Promise<ListStore> {
    const { store, shared } = this.#place;
    const { owners, ...variables } = this.#owners;
    this.#opening ??= toListTrust(owners, variables).then((trust) => openTrust(store, trust, shared));
    return this.#opening;
  }
}
