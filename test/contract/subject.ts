import type {
  AuthMeshIdentity,
  NonceStore,
  Refusal,
  RefusalCode,
  RequestView,
  Role,
  Verifier,
  VerifyCall,
  VerifyOptions,
} from '@authmesh/sdk/core';
import { createVerifier, InMemoryNonceStore } from '@authmesh/sdk/core';
import { vectorAllowList, vectors, vectorsStartedAt } from '../support/vectors';

/** How the next requests are to be judged. */
export interface Setting {
  /** Unix milliseconds at which the clock stands still; left out, it runs. */
  readonly now?: number;
  /** Hosts to answer to, beside those of the vectors. */
  readonly hosts?: readonly string[];
  readonly maxBodyBytes?: number;
  /** What the controller of the vectors may do. */
  readonly scopes?: readonly string[];
  /** Whether a route that says nothing about delegates takes them. */
  readonly delegates?: boolean | undefined;
  /** Keeps the nonces of the setting before, as a change of the list does. */
  readonly keepsNonces?: boolean;
  /** Further controllers. */
  readonly devices?: readonly { readonly deviceId: string; readonly publicKey: string }[];
}

/** What came of the requests since the last {@link Setting}. */
export interface Outcome {
  readonly refusals: readonly RefusalCode[];
  /** How many requests a handler has got. */
  readonly handled: number;
}

/** What a handler has seen, for the suite to compare with what was sent. */
export interface Seen {
  readonly caller: AuthMeshIdentity;
  /** Which part of the application it was. */
  readonly via: string;
  readonly method: string;
  /** As the router has it. */
  readonly target: string;
  /** hex */
  readonly sha256: string;
  readonly length: number;
}

/** The path on which a server takes a {@link Setting} (POST), and says the {@link Outcome} (GET); unsigned. */
export const CONTROL = '/-/control';

/**
 * What every server of the contract stands on, whatever its framework and runtime: a verifier of the vectors' target
 * whose clock can be set from outside. It uses nothing that a Worker does not have.
 */
export class Subject {
  #nonces = noncesOf({});
  #create = verifiersOf({}, this, this.#nonces);
  #refusals: RefusalCode[] = [];
  #handled = 0;

  /** Stands for an instance, so that an adapter takes it as its option `amesh`. */
  readonly verifier = ({ require, delegates }: VerifyOptions = {}): Verifier =>
    ({
      verify: (request: RequestView, call?: VerifyCall) =>
        this.#create({ ...(require && { require }), delegates }).verify(request, call),
    }) as Verifier;

  /** What a server answers on {@link CONTROL}. */
  control(method: string, body: string): string {
    if (method !== 'POST') {
      return JSON.stringify({ refusals: this.#refusals, handled: this.#handled } satisfies Outcome);
    }
    this.#refusals = [];
    this.#handled = 0;
    const setting = JSON.parse(body) as Setting;
    if (!setting.keepsNonces) this.#nonces = noncesOf(setting);
    this.#create = verifiersOf(setting, this, this.#nonces);
    return '{}';
  }

  /** The answer of a handler that has read its whole body. */
  async seen(via: string, caller: AuthMeshIdentity, method: string, target: string, body: Uint8Array) {
    this.#handled++;
    const sha256 = await hash(body);
    return { via, caller, method, target, sha256, length: body.length } satisfies Seen;
  }

  refused(code: RefusalCode): void {
    this.#refusals.push(code);
  }
}

function clockOf({ now }: Setting): () => number {
  return now === undefined ? Date.now : () => now;
}

function noncesOf(setting: Setting): NonceStore {
  return new InMemoryNonceStore({ now: clockOf(setting), startedAt: vectorsStartedAt });
}

/** The verifiers of one setting, as an instance makes them: with one list and one nonce store. */
function verifiersOf(
  setting: Setting,
  subject: Subject,
  nonceStore: NonceStore,
): (own: VerifyOptions) => Verifier {
  const { hosts = [], maxBodyBytes, devices = [], scopes, delegates } = setting;
  const further = devices.map((device) => ({
    ...device,
    friendlyName: 'further',
    roles: ['controller'] as Role[],
  }));
  const known = vectorAllowList.devices.map((device) =>
    scopes !== undefined && device.roles.includes('controller') ? { ...device, scopes } : device,
  );
  const options = {
    allowList: {
      ...vectorAllowList,
      hosts: [...vectorAllowList.hosts, ...hosts],
      devices: [...known, ...further],
    },
    clockSkewSeconds: vectors.clockSkewSeconds,
    nonceStore,
    now: clockOf(setting),
    maxBodyBytes,
    onRefusal: ({ code }: Refusal) => subject.refused(code),
  };
  const verifiers = new Map<string, Verifier>();
  return (own) => {
    const key = JSON.stringify(own);
    const verifier =
      verifiers.get(key) ?? createVerifier({ ...options, ...own, delegates: own.delegates ?? delegates });
    verifiers.set(key, verifier);
    return verifier;
  };
}

/** What the routes of the contract require: one scope, and several. */
export const ONE_SCOPE = { require: 'orders:read' };
export const ALL_SCOPES = { require: ['orders:read', 'orders:write'] };
/** Two routes that say whether they take delegates. */
export const DELEGATES = { delegates: true };
export const NO_DELEGATES = { require: 'orders:read', delegates: false };

/** SHA-256 in hex, by what every runtime has. */
export async function hash(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** A form as plain values, with a file as its type and its bytes' hash. */
export async function formValues(
  entries: Iterable<[string, string | File]>,
): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  for (const [name, value] of entries) {
    values[name] =
      typeof value === 'string'
        ? value
        : `${value.type} ${await hash(new Uint8Array(await value.arrayBuffer()))}`;
  }
  return values;
}

/** The target of a `Request`, as it is written there. */
export function targetOf(url: string): string {
  return url.slice(url.indexOf('/', url.indexOf('//') + 2));
}
