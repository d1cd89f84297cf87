import { Bootstrap } from '../bootstrap/bootstrap';
import type { Acceptance } from '../bootstrap/provision/acceptance';
import type { MaybePromise } from '../core/crypto/provider';
import type { AllowListSource } from '../core/devices/allow-list';
import { isAmeshError } from '../core/errors/amesh-error';
import type { Enroller } from '../core/verify/enroller';
import type { AnswerHeaders } from '../core/verify/verdict';
import { onceListening } from '../process/listening';
import type { Log } from '../process/log';
import type { Device } from '../trust/device';
import { tellNotTaken } from './notices';
import type { AmeshSettings } from './options';
import type { Place } from './place';
import { createIdentity } from './setup/setup';

/**
 * What an instance works with. There are two kinds: the machine that owns its list (`OwnMachine`), and one that only reads
 * the list of another (`Reader`).
 */
export interface Machine {
  readonly log: Log;
  readonly list: AllowListSource;
  readonly bootstrap: Bootstrap;
  /** Opens the device at its first call. @throws AmeshError as `openDevice()` */
  readonly device: () => Promise<Device>;
  /** Undefined where this machine cannot write its list. */
  readonly enroller: Enroller | undefined;
  /** Called by each `verify()` when it is made. */
  serve(): void;
  /** A request was let in. @returns what the answer has to carry besides */
  noteAccepted(acceptance: Acceptance): MaybePromise<AnswerHeaders | undefined>;
}

/** The token in the environment of a machine. */
export function bootstrapOf(
  { dir, env, shared, log }: Place,
  settings: AmeshSettings,
  { device, isReader }: { device: () => Promise<Device>; isReader: boolean },
): Bootstrap {
  return new Bootstrap({
    env,
    isReader,
    open: () =>
      device().catch((error) => {
        if (isAmeshError(error) && error.code === 'no_identity') return null;
        throw error;
      }),
    create: async (friendlyName: string) => {
      await createIdentity(dir, env, { friendlyName }, shared).catch((error) => {
        if (!isAmeshError(error) || error.code !== 'identity_exists') throw error; // another process was faster
      });
      return device();
    },
    tell: log.once,
    fetch: (input, init) => (settings.fetch ?? globalThis.fetch)(input, init),
  });
}

/**
 * What a server does before its first request: that is when people look at its log. But nothing is taken before it
 * listens: builds load the modules of a server too, and a token can be taken once.
 */
export function startServing(
  { shared, log, tellOfFolder }: Place,
  { bootstrap, list, isReader }: { bootstrap: Bootstrap; list: AllowListSource; isReader: boolean },
): void {
  tellOfFolder();
  if (bootstrap.isPending) {
    onceListening(() => bootstrap.asTarget().catch((error) => tellNotTaken(error, isReader, log)));
  } else if (shared !== null) {
    // So that the first request need not wait for a list that lies far away. It will be told what fails.
    void (async () => list.current())().catch(() => {});
  }
}
