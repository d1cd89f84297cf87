import type { Bootstrap } from '../bootstrap/bootstrap';
import { createEnroller } from '../bootstrap/grants/enroller';
import { Leases } from '../bootstrap/grants/leases';
import type { Acceptance } from '../bootstrap/provision/acceptance';
import { createRegistrar } from '../bootstrap/provision/registrar';
import { andThen } from '../core/and-then';
import type { AllowListSource } from '../core/devices/allow-list';
import type { Enroller } from '../core/verify/enroller';
import type { AnswerHeaders } from '../core/verify/verdict';
import { onceListening } from '../process/listening';
import type { Log } from '../process/log';
import { hideSecret } from '../process/secrets';
import { assertSameIdentity, type Device } from '../trust/device';
import { IDENTITY_KEY } from '../trust/identity';
import type { ListStore } from '../trust/list/list-store';
import { Sightings } from '../trust/sightings';
import { ANSWER_KEY_VARIABLE } from './answers/mounted-answer-key';
import { EndWatch } from './ends/end-watch';
import { listSource } from './list-source';
import { bootstrapOf, type Machine, startServing } from './machine';
import { tellNoIdentity } from './notices';
import type { AmeshSettings } from './options';
import { liveDevice, type Place } from './place';
import { CallerRotation } from './rotation/caller-rotation';
import { currentDevice } from './rotation/current-device';
import type { LiveDevice } from './rotation/live-device';
import { RotationTaker } from './rotation/take-rotation';
import { testOwnKey } from './setup/test-own-key';

/** A machine whose own key seals its allow list. */
export class OwnMachine implements Machine {
  readonly log: Log;
  readonly device: () => Promise<Device>;
  readonly opened: Machine['opened'];
  readonly rotation: CallerRotation;
  readonly bootstrap: Bootstrap;
  readonly list: AllowListSource;
  readonly enroller: Enroller;
  readonly answerSigner = () => andThen(this.opened(), ({ device }) => device.answers());
  readonly #place: Place;
  readonly #live: LiveDevice;
  readonly #leases: Leases;
  readonly #register: ReturnType<typeof createRegistrar>;
  readonly #rotations: RotationTaker;
  readonly #sightings: Sightings;
  readonly #ends: EndWatch;
  #isServing = false;
  #isKeyTested = false;

  constructor(place: Place, settings: AmeshSettings) {
    const live = liveDevice(place);
    const device = async () => (await live.current()).device;
    const trust = () => this.#trust();
    this.#place = place;
    this.log = place.log;
    this.device = device;
    this.opened = () => live.current();
    this.rotation = new CallerRotation({
      store: place.store,
      tell: place.log.once,
      fetch: settings.fetch,
    });
    this.#live = live;
    this.bootstrap = bootstrapOf(place, settings, { device, isReader: false });
    const list = listSource(place, settings.sharing, trust);
    this.list = list;
    this.enroller = createEnroller({ device, list });
    this.#leases = new Leases(device);
    this.#register = createRegistrar({ bootstrap: this.bootstrap, device, list });
    this.#rotations = new RotationTaker({ accept: settings.acceptRotation, device, list, log: place.log });
    this.#sightings = new Sightings({ trust, list });
    this.#ends = new EndWatch({ list, tell: this.log.once });
  }

  serve(): void {
    const { bootstrap, list } = this;
    const isFirst = !this.#isServing;
    this.#isServing = true;
    if (isFirst) this.#ignoreAnswerKey();
    if (isFirst) startServing(this.#place, { bootstrap, list, isReader: false, ends: this.#ends });
    if (isFirst) onceListening(() => this.#testKey());
    const { dir, env, store, log } = this.#place;
    if (!bootstrap.isPending && store.stamp(IDENTITY_KEY) === 'absent') tellNoIdentity(dir, env, log);
  }

  noteAccepted(acceptance: Acceptance): ReturnType<Machine['noteAccepted']> {
    // For runtimes that do not reveal that the server listens.
    this.#ends.start();
    if (!this.#isKeyTested) this.#testKey();
    const { device, list, isDelegate } = acceptance;
    const current = currentDevice(device, list);
    this.#sightings.note(current.deviceId);
    const answer = this.#rotations.take(acceptance);
    if (isDelegate) return answer; // a delegate neither extends a lease nor confirms a token
    this.#leases.note(current, list);
    return both(this.#register(acceptance), answer);
  }

  #testKey(): void {
    if (this.#isKeyTested) return;
    this.#isKeyTested = true;
    void testOwnKey(this.#place.store, this.device, this.log.once);
  }

  /**
   * Its own key signs answers. So AMESH_ANSWER_KEY is not needed, and a secret that nobody needs does not stay in the environment.
   */
  #ignoreAnswerKey(): void {
    const { env, log } = this.#place;
    if (env[ANSWER_KEY_VARIABLE] === undefined) return;
    hideSecret(env, ANSWER_KEY_VARIABLE);
    log.once(`${ANSWER_KEY_VARIABLE} is not used: this instance signs answers with its own key.`);
  }

  async #trust(): Promise<ListStore> {
    if (this.#isServing) await this.bootstrap.asTarget();
    const { device } = await this.#live.fresh();
    await assertSameIdentity(device);
    return device.trust;
  }
}

/** Joins the headers of two parts that may have something to tell the caller. */
function both(
  one: Promise<AnswerHeaders | undefined> | undefined,
  other: Promise<AnswerHeaders> | undefined,
): Promise<AnswerHeaders | undefined> | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Promise.all([one, other]).then(([first, second]) => ({ ...first, ...second }));
}
