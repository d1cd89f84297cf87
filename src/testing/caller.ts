import { cryptoProvider } from '#crypto';
import { generateSigner } from '../core/crypto/generate-signer';
import type { Signer } from '../core/crypto/provider';
import { deviceIdOf, type TrustedDevice } from '../core/devices/allow-list';
import { covers } from '../core/devices/scopes';
import { toBase64Url } from '../core/encoding';
import { assertOptionNames } from '../core/options';
import type { ClientRefusal } from '../core/sign/refusal';
import { delegatedSigner } from '../core/statements/delegated-signer';
import { issueDelegation } from '../core/statements/issue-delegation';
import type { Calls } from '../machine/calls';
import { toScopes } from '../trust/rights/scopes';
import { type TestApp, toAppFetch } from './app/app';
import type { AppFetch } from './app/app-fetch';
import type { MeshParts } from './mesh-parts';
import { createSender } from './sender';

/** A caller to add. Every option is optional; a wrong one is a TypeError. */
export interface CallerOptions {
  /** Its name, `friendlyName` for handlers; default `caller`. */
  readonly name?: string | undefined;
  /** What it may do, such as `orders:read` or `orders:*`; default nothing that requires a scope. */
  readonly scopes?: readonly string[] | undefined;
  /** When the machine stops trusting it; default never. */
  readonly expiresAt?: Date | undefined;
  /** Called when the machine refuses a request of this caller, like the option of `createAmesh()`. */
  readonly onRefusal?: ((refusal: ClientRefusal) => void) | undefined;
}

/** A device that may call the machine under test. It signs with a key of its own. */
export interface TestCaller extends Calls {
  /** `am_` and 16 base64url characters. */
  readonly deviceId: string;
  /** What handlers see as `friendlyName`. */
  readonly name: string;
  /** What it may do now. */
  readonly scopes: readonly string[];
  /**
   * `amesh.fetch` of this device. A path is resolved against the URL of the mesh. It sends to the app of {@link to}. Without an
   * app, it sends to the network: to a server that listens, or to a tool that intercepts requests.
   */
  readonly fetch: Calls['fetch'];
  /**
   * `amesh.sign` of this device, for tools that send the request themselves. The URL may be a path. The headers include `Host`,
   * since such tools often set another one.
   */
  readonly sign: Calls['sign'];
  /**
   * The same device, calling an app in memory.
   *
   * @throws TypeError for an app of another kind
   */
  to(app: TestApp): TestCaller;
  /**
   * Gives it scopes, like `amesh allow`. As with every change, it applies from the next request on.
   *
   * @throws TypeError for a text that is not a scope
   */
  allow(...scopes: string[]): void;
  /**
   * Takes scopes from it, like `amesh deny`.
   *
   * @throws TypeError for a text that is not a scope, and if a wildcard that it has still covers one of these
   */
  deny(...scopes: string[]): void;
  /** Removes it from the list, like `amesh revoke`. */
  revoke(): void;
  /**
   * Puts it back into the list after {@link revoke}, with the scopes that it had. As in production, its delegates stay ended, and
   * new delegations count 5 minutes after the revocation.
   */
  restore(): void;
  /**
   * Lends some of its scopes to a delegate, like `amesh delegate`.
   *
   * @throws TypeError for a wrong option
   */
  delegate(options: DelegateOptions): Promise<TestDelegate>;
}

/** A delegate to make. */
export interface DelegateOptions {
  /** Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`. */
  readonly name: string;
  /** The most that it may do: 1 to 16 scopes or wildcards. */
  readonly scopes: readonly string[];
  /** How long it lasts, in seconds, 60 to 86,400; default 3,600. */
  readonly lifetimeSeconds?: number | undefined;
}

/** A delegate of a caller. */
export interface TestDelegate extends Calls {
  /** Its ID, 22 base64url characters. */
  readonly id: string;
  /**
   * The same delegate, calling an app in memory.
   *
   * @throws TypeError for an app of another kind
   */
  to(app: TestApp): TestDelegate;
  /** Ends it, like `amesh revoke --delegate`. */
  end(): void;
}

const NAMES: ReadonlySet<string> = new Set<keyof CallerOptions>(['name', 'scopes', 'expiresAt', 'onRefusal']);
const DELEGATE_NAMES: ReadonlySet<string> = new Set<keyof DelegateOptions>([
  'name',
  'scopes',
  'lifetimeSeconds',
]);

/** @throws TypeError for a wrong option */
export async function addCaller(parts: MeshParts, options: CallerOptions = {}): Promise<Caller> {
  const device = toDevice(options);
  const { signer } = await generateSigner(cryptoProvider);
  const deviceId = await deviceIdOf(signer.publicKey, cryptoProvider);
  const now = { ...device, deviceId, publicKey: toBase64Url(signer.publicKey) };
  const caller = new Caller(parts, { now, signer, onRefusal: options.onRefusal }, null);
  caller.restore();
  return caller;
}

/**
 * Adds another machine, with its own key, as a caller.
 *
 * @throws TypeError for a wrong option
 */
export function trustMachine(
  { list }: MeshParts,
  { deviceId, publicKey }: Pick<TrustedDevice, 'deviceId' | 'publicKey'>,
  options: CallerOptions,
): void {
  list.set({ ...toDevice(options), deviceId, publicKey });
}

function toDevice(options: CallerOptions): Omit<TrustedDevice, 'deviceId' | 'publicKey'> {
  assertOptionNames('A caller', options, NAMES);
  const { name = 'caller', scopes = [], expiresAt } = options;
  if (typeof name !== 'string' || name === '') throw new TypeError('name must be a text.');
  if (options.onRefusal !== undefined && typeof options.onRefusal !== 'function')
    throw new TypeError('onRefusal must be a function.');
  const seconds = expiresAt === undefined ? undefined : Number(expiresAt) / 1000;
  if (seconds !== undefined && !(expiresAt instanceof Date && Number.isFinite(seconds)))
    throw new TypeError('expiresAt must be a Date.');
  const end = seconds === undefined ? {} : { expiresAt: seconds };
  return { friendlyName: name, roles: ['controller'], scopes: toScopes(scopes), ...end };
}

/** A device, shared by all of its callers. */
interface HeldDevice {
  /** Its entry in the list, or its last entry before it was revoked. */
  now: TrustedDevice;
  readonly signer: Signer;
  readonly onRefusal: CallerOptions['onRefusal'];
}

class Caller implements TestCaller {
  readonly fetch: Calls['fetch'];
  readonly sign: Calls['sign'];
  readonly #parts: MeshParts;
  readonly #app: AppFetch | null;
  readonly #device: HeldDevice;

  constructor(parts: MeshParts, device: HeldDevice, app: AppFetch | null) {
    this.#parts = parts;
    this.#app = app;
    this.#device = device;
    const { signer, onRefusal } = device;
    const { fetch, sign } = createSender(parts, signer, { app, callsMachine: true, onRefusal });
    this.fetch = fetch;
    this.sign = sign;
  }

  get deviceId(): string {
    return this.#device.now.deviceId;
  }

  get name(): string {
    return this.#device.now.friendlyName;
  }

  get scopes(): readonly string[] {
    return this.#device.now.scopes ?? [];
  }

  to(app: TestApp): Caller {
    return new Caller(this.#parts, this.#device, toAppFetch(app));
  }

  allow(...scopes: string[]): void {
    this.#change(toScopes([...this.scopes, ...toScopes(scopes)]));
  }

  deny(...scopes: string[]): void {
    const denied = toScopes(scopes);
    const left = this.scopes.filter((scope) => !covers(denied, scope));
    const wider = denied.find((scope) => covers(left, scope));
    if (wider !== undefined)
      throw new TypeError(
        `It would still have ${wider}, by a wildcard: deny that, and allow what it may keep.`,
      );
    this.#change(left);
  }

  revoke(): void {
    const { list, clock } = this.#parts;
    if (list.get(this.deviceId) === undefined) return; // a second time changes nothing
    list.remove(this.deviceId);
    // What its key has signed before stays revoked.
    this.#device.now = { ...this.#device.now, keysSince: Math.floor(clock.now() / 1000) };
  }

  restore(): void {
    this.#parts.list.set(this.#device.now);
  }

  async delegate(options: DelegateOptions): Promise<TestDelegate> {
    assertOptionNames('delegate()', options, DELEGATE_NAMES);
    const { name, scopes, lifetimeSeconds = 3600 } = options;
    const { clock, list, publicKey } = this.#parts;
    const targets = [list.deviceId];
    const targetKeys = [{ deviceId: list.deviceId, publicKey: toBase64Url(publicKey) }];
    const { now } = clock;
    const wish = { name, scopes, targets, targetKeys, lifetimeSeconds, now };
    const { text, facts } = await issueDelegation(this.#device.signer, wish);
    return toDelegate(this.#parts, await delegatedSigner(text, { now }), facts.id, this.#app);
  }

  #change(scopes: readonly string[]): void {
    const { list } = this.#parts;
    this.#device.now = { ...this.#device.now, scopes };
    if (list.get(this.deviceId) !== undefined) list.set(this.#device.now);
  }
}

function toDelegate(parts: MeshParts, signer: Signer, id: string, app: AppFetch | null): TestDelegate {
  return {
    ...createSender(parts, signer, { app, callsMachine: true }),
    id,
    to: (other) => toDelegate(parts, signer, id, toAppFetch(other)),
    end: () => parts.list.endDelegation(id),
  };
}
