import {
  type ControllerPerson,
  type Device,
  type DeviceEntry,
  type InviteOptions,
  inviteTarget,
  type ListenOptions,
  type ListenResult,
  listenForController,
  type TargetPerson,
} from '@authmesh/sdk/admin';
import { isAmeshError } from '@authmesh/sdk/core';
import { documentOf, type ListDocument } from './list-document';

export interface Attempt {
  readonly target: Device;
  readonly controller: Device;
  readonly relay: string;
  /** Where the controller finds the relay; default the same. */
  readonly otherRelay?: string;
  readonly listen?: Partial<Omit<ListenOptions, 'person'>>;
  readonly invite?: Partial<InviteOptions>;
  /** The person at the target; default one who types what the controller shows. */
  readonly atTarget?: Partial<TargetPerson>;
  /** What the person at the target waits for before they type. */
  readonly beforeTyping?: Promise<unknown>;
  /** The person at the controller; default one who says yes where both screens show the same. */
  readonly atController?: Partial<ControllerPerson>;
}

/** How a side has ended: with a result, or with the code of its error. */
export interface Ended {
  readonly target: ListenResult | string;
  readonly controller: DeviceEntry | string;
  /** Whole errors, for their messages. */
  readonly errors: { readonly target: unknown; readonly controller: unknown };
  readonly seen: {
    readonly shown: string | undefined;
    readonly verified: string | undefined;
    readonly intruders: number;
  };
}

/** Runs both ends over a real relay, with two attentive people. */
export async function pair(attempt: Attempt): Promise<Ended> {
  const { target, controller, relay, otherRelay = relay } = attempt;
  const seen = {
    shown: undefined as string | undefined,
    verified: undefined as string | undefined,
    intruders: 0,
  };
  const code = deferred<string>();
  const shown = deferred<string>();
  const listening = listenForController({
    device: target,
    relay,
    ...attempt.listen,
    person: {
      intruder: () => void seen.intruders++,
      connected: () => {},
      typeCode: async () => {
        await attempt.beforeTyping;
        return shown.promise;
      },
      wrongCode: () => {},
      replace: async () => false,
      verified: (verificationCode) => {
        seen.verified = verificationCode;
      },
      ...attempt.atTarget,
      showCode: (...facts) => {
        attempt.atTarget?.showCode?.(...facts);
        code.resolve(facts[0]);
      },
    },
  });
  listening.catch(code.reject);
  const inviting = (async () =>
    inviteTarget({
      device: controller,
      relay: otherRelay,
      code: await code.promise,
      person: {
        confirm: async (verificationCode) => verificationCode === seen.verified,
        ...attempt.atController,
        showCode: (verificationCode, peer) => {
          seen.shown = verificationCode;
          attempt.atController?.showCode?.(verificationCode, peer);
          shown.resolve(verificationCode);
        },
      },
      ...attempt.invite,
    }))();
  const [t, c] = await Promise.allSettled([listening, inviting]);
  return {
    target: t.status === 'fulfilled' ? t.value : codeOf(t.reason),
    controller: c.status === 'fulfilled' ? c.value : codeOf(c.reason),
    errors: {
      target: t.status === 'rejected' ? t.reason : undefined,
      controller: c.status === 'rejected' ? c.reason : undefined,
    },
    seen,
  };
}

/** Somebody at the target who is told what to type, and refuses whatever else they are asked. */
export function typist(showCode: (code: string) => void, typed: Promise<string>): TargetPerson {
  return {
    showCode,
    intruder: () => {},
    connected: () => {},
    typeCode: () => typed,
    wrongCode: () => {},
    replace: async () => false,
    verified: () => {},
  };
}

export function codeOf(error: unknown): string {
  return isAmeshError(error) ? error.code : String(error);
}

export type Trust = 'none' | 'unconfirmed, none' | 'unconfirmed, trusted' | 'paired';

/**
 * What two machines believe of each other.
 *
 * @throws Error for what must never be: a target that trusts a controller which does not know it
 */
export async function trustBetween(controller: Device, target: Device): Promise<Trust> {
  const row = rowOf(await documentOf(controller.trust), target, 'target');
  const trusted = rowOf(await documentOf(target.trust), controller, 'controller') !== undefined;
  if (row === undefined && !trusted) return 'none';
  if (row?.unconfirmed) return trusted ? 'unconfirmed, trusted' : 'unconfirmed, none';
  if (row !== undefined && trusted) return 'paired';
  throw new Error(row === undefined ? 'The controller has no row.' : 'A confirmed row, and no trust.');
}

function rowOf({ devices }: ListDocument, { identity }: Device, role: 'controller' | 'target') {
  return devices.find(({ deviceId, roles }) => deviceId === identity.deviceId && roles.includes(role));
}

export function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}
