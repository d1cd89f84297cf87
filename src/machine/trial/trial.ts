import { counted } from '#gather';
import type { AmeshFetchInit, CalledTarget } from '../../core/answers/asking';
import { createPreparer } from '../../core/sign/client';
import { type ClientOptions, readOptions } from '../../core/sign/options';
import type { DelegatedSigner } from '../../core/statements/delegated-signer';
import type { Env } from '../../process/home';
import type { Device } from '../../trust/device';
import type { PagedList } from '../../trust/format/paged-list';
import { toCalledTarget } from '../calls';
import { Delegate } from '../delegate';
import { CallerRotation } from '../rotation/caller-rotation';
import { withRotation } from '../rotation/live-device';
import { withOtherKey } from '../rotation/other-key';
import { openKey } from '../setup/open-device';

/** Calls targets as a program here would, to find out what it would get. */
export interface Trial {
  /** Sends a GET: with the key, the target and the proof with which `amesh.fetch` would send it. Throws like `amesh.fetch`. */
  get(url: URL, init: AmeshFetchInit): Promise<Response>;
  /** The ID of the target that a request to an authority names; undefined if it names none. */
  targetOf(authority: string): Promise<string | undefined>;
}

/** How to call. */
export interface TrialOptions extends Pick<ClientOptions, 'fetch' | 'onRefusal'> {
  /** Called with what an instance would log about its keys. */
  readonly tell: (line: string) => void;
}

/** The machine whose programs would call. */
export interface TriedMachine extends Pick<Device, 'identity' | 'signer' | 'store'> {
  /** The list in which programs look up a target. */
  readonly list: Pick<PagedList, 'targetOf'>;
  /** Where the key that is being replaced is opened. */
  readonly env: Env;
}

/**
 * Calls as a machine. During a rotation it signs with the key that a program would use; but it does not tell targets the next key,
 * and writes nothing.
 *
 * @throws what reading the folder throws
 */
export async function trialOfMachine(
  { identity, signer, store, list, env }: TriedMachine,
  { fetch, onRefusal, tell }: TrialOptions,
): Promise<Trial> {
  const opened = await withRotation(
    { identity, signer },
    { store, openKey: (former) => openKey(former, store, env) },
  );
  const rotation = new CallerRotation({ store, tell, fetch, isTrial: true });
  const targetOf = (authority: string) => {
    const target = list.targetOf(authority);
    return target && rotation.called(toCalledTarget(target), opened);
  };
  const prepare = createPreparer(readOptions({ signer, targetOf, fetch, onRefusal }));
  return {
    get: (url, init) =>
      counted(async () => withOtherKey(await prepare(url, init), { rotation, opened: () => opened }).send()),
    targetOf: async (authority) => list.targetOf(authority)?.deviceId,
  };
}

/** Calls as a delegate. */
export function trialOfDelegate(
  signer: DelegatedSigner,
  env: Env,
  { fetch, onRefusal }: TrialOptions,
): Trial {
  const delegate = new Delegate(Promise.resolve(signer), env);
  const targetOf = (authority: string) => delegate.target(authority);
  const prepare = createPreparer(readOptions({ signer, targetOf, fetch, onRefusal }));
  return {
    get: (url, init) => counted(async () => (await prepare(url, init)).send()),
    targetOf: async (authority) => idOf(await targetOf(authority)),
  };
}

function idOf(target: CalledTarget | string | undefined): string | undefined {
  return typeof target === 'object' ? target.deviceId : target;
}
