import type { PrivateJwk } from '@authmesh/sdk/core';
import wire from '../vectors/wire.json' with { type: 'json' };

export interface VectorDevice {
  readonly role: 'controller' | 'target' | null;
  readonly deviceId: string;
  readonly publicKey: string;
  readonly privateKeyJwk: PrivateJwk;
}

export interface Vector {
  readonly name: string;
  readonly format: 'authmesh' | 'rfc9421';
  readonly now: number;
  readonly expect: 'accept' | 'reject';
  readonly code?: string;
  /** Whether the verifier says that delegates may call. */
  readonly delegates?: boolean;
  readonly signatureBase: string;
  readonly request: {
    readonly method: string;
    readonly target: string;
    readonly authority: string;
    readonly headers: Record<string, string>;
    /** base64 */
    readonly body: string;
  };
}

export interface Vectors {
  readonly clockSkewSeconds: number;
  readonly verifierDeviceId: string;
  readonly devices: Record<'controller' | 'target' | 'stranger', VectorDevice>;
  /** When keys were cut, by the name of the device. */
  readonly keysSince: Readonly<Record<string, number>>;
  readonly endedDelegations: readonly string[];
  readonly cases: readonly Vector[];
}

// Imported and not read, so that it can be bundled for runtimes without files.
export const vectors = wire as unknown as Vectors;

/** Every authority that a vector is sent to; the verifier under test answers to all of them. */
export const vectorHosts = [...new Set(vectors.cases.map((vector) => vector.request.authority))];

/** The allow list of the vectors' verifier: the controller as controller, itself as target, the stranger not. */
export const vectorAllowList = {
  deviceId: vectors.verifierDeviceId,
  hosts: vectorHosts,
  devices: Object.entries(vectors.devices).flatMap(([name, { deviceId, publicKey, role }]) => {
    if (role === null) return [];
    return [{ deviceId, publicKey, friendlyName: name, roles: [role], keysSince: vectors.keysSince[name] }];
  }),
  endedDelegations: vectors.endedDelegations,
};

/** The Unix milliseconds at which a vector is judged. */
export const nowOf = (vector: Vector): number => vector.now * 1000;

/** Before every vector's `created`, so that the memory store's own start refuses none. */
export const vectorsStartedAt = Math.min(...vectors.cases.map((vector) => vector.now)) - 3600;

// Where an earlier check of ours finds fault with the same request, the code is that check's.
const EARLIER: Readonly<Record<string, string>> = {
  'rfc9421: content-encoding added': 'component_not_covered',
  'rfc9421: content-type added': 'component_not_covered',
  'rfc9421: target name added': 'component_not_covered',
  // Its digest was changed after signing, so the signature fails before the body is looked at.
  'rfc9421 fields: digest with a wrong algorithm only': 'invalid_signature',
};

/** Of a working key or a delegate: the claims of its statement. */
export function claimsOf({ request }: Vector): {
  readonly jti: string;
  readonly exp: number;
  readonly sub?: string;
  readonly scope?: string;
} | null {
  const [, payload] = request.headers['authmesh-key']?.split('.') ?? [];
  return payload === undefined ? null : JSON.parse(Buffer.from(payload, 'base64url').toString());
}

/** The code for which we refuse a vector; undefined where it is accepted. */
export const expectedCode = (vector: Vector): string | undefined => EARLIER[vector.name] ?? vector.code;
