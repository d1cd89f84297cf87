import { Bootstrap } from '../bootstrap/bootstrap';
import type { Acceptance } from '../bootstrap/provision/acceptance';
import type { AnswerSigner } from '../core/answers/sign-answer';
import type { MaybePromise } from '../core/crypto/provider';
import type { AllowListSource } from '../core/devices/allow-list';
import { isAmeshError } from '../core/errors/amesh-error';
import type { Enroller } from '../core/verify/enroller';
import type { AnswerHeaders } from '../core/verify/verdict';
import { onceListening } from '../process/listening';
import type { Log } from '../process/log';
import type { Device } from '../trust/device';
import type { EndWatch } from './ends/end-watch';
import { folderOfAnother, tellNotTaken } from './notices';
import type { AmeshSettings } from './options';
import type { Place } from './place';
import type { CallerRotation } from './rotation/caller-rotation';
import type { Opened } from './rotation/live-device';
import { createIdentity } from './setup/setup';

/**
 * The machine behind an instance. There are two kinds: `OwnMachine` seals its own list; `Reader` has only the public key of the
 * owner, and reads the list.
 */
export interface Machine {
  readonly log: Log;
  readonly list: AllowListSource;
  readonly bootstrap: Bootstrap;
  /** Opens the device on the first call. @throws AmeshError like `openDevice()` */
  readonly device: () => Promise<Device>;
  /** The same, for a request: it waits only at the first use, and says whether the key is being replaced. */
  readonly opened: () => MaybePromise<Opened>;
  /** Which key signs for which target while the key is being replaced. */
  readonly rotation: CallerRotation;
  /** Supplies the key that signs answers, or undefined once it has ended. Undefined if this machine has none. */
  readonly answerSigner: (() => MaybePromise<AnswerSigner | undefined>) | undefined;
  /** Undefined if this machine cannot change the list. */
  readonly enroller: Enroller | undefined;
  /** Called once for each `verify()` that is created. */
  serve(): void;
  /** Called for each accepted request. @returns headers to add to its response */
  noteAccepted(acceptance: Acceptance): MaybePromise<AnswerHeaders | undefined>;
}

/** Handles the bootstrap token in a machine's environment. */
export function bootstrapOf(
  { dir, env, shared, signer, log }: Place,
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
      if (isReader && shared === null) throw folderOfAnother(dir);
      await createIdentity(dir, env, { friendlyName, publicKey: signer?.publicKey }, shared).catch(
        (error) => {
          if (!isAmeshError(error) || error.code !== 'identity_exists') throw error; // another process created it first
        },
      );
      return device();
    },
    tell: log.once,
    fetch: (input, init) => (settings.fetch ?? globalThis.fetch)(input, init),
  });
}

/**
 * Does what can be done before the first request, while people look at the log. It takes no token before the server listens: a
 * build also loads the modules of a server, and a token can be taken only once.
 */
export function startServing(
  { shared, log, tellOfFolder }: Place,
  {
    bootstrap,
    list,
    isReader,
    ends,
  }: { bootstrap: Bootstrap; list: AllowListSource; isReader: boolean; ends: EndWatch },
): void {
  tellOfFolder();
  onceListening(() => ends.start());
  if (bootstrap.isPending) {
    onceListening(() => bootstrap.asTarget().catch((error) => tellNotTaken(error, isReader, log)));
  } else if (shared !== null) {
    // Load the list now, so that the first request need not wait for a remote store. A request reports a failure.
    void (async () => list.current())().catch(() => {});
  }
}
