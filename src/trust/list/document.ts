import type { Role } from '../../core/devices/allow-list';

/** A device in the allow list. */
export interface DeviceEntry {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** Shown to people: at most 64 code points. */
  readonly friendlyName: string;
  /** What it may do; at least one role. */
  readonly roles: readonly Role[];
  /** For a target: the authorities under which it is called. */
  readonly hosts: readonly string[];
  /** Unix seconds. */
  readonly addedAt: number;
  /** For a target: it has not yet shown that it trusts this device. Absent once it has. */
  readonly unconfirmed?: true;
  /** For a controller added by a grant: how long it may call. Absent if there is no limit. */
  readonly lease?: Lease;
}

/** How long a controller that was added by a grant may call. */
export interface Lease {
  /** The ID of the grant. */
  readonly grant: string;
  /** Unix seconds; use extends it. */
  readonly expiresAt: number;
  /** Unix seconds; use never extends `expiresAt` beyond this. */
  readonly endsAt: number;
}

/** A provision token that this device has issued. */
export interface IssuedToken {
  /** Distinguishes it from a taken token. */
  readonly kind: 'issued';
  /** 22 base64url characters. */
  readonly id: string;
  /** The name for the machine that takes it. */
  readonly friendlyName: string;
  /** The authorities under which that machine will be called, in normal form. */
  readonly hosts: readonly string[];
  /** 32 bytes in base64url. The machine uses it to prove that it has the token. */
  readonly secret: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** The public key of the machine that registered with it; null until then. */
  readonly takenBy: string | null;
  /** Unix seconds; null if it was not cancelled. */
  readonly cancelledAt: number | null;
}

/** A bootstrap token that this device has taken. */
export interface TakenToken {
  /** Distinguishes it from an issued token. */
  readonly kind: 'taken';
  /** 22 base64url characters; for a grant the ID of the grant. */
  readonly id: string;
  /** The deviceId of the issuer. */
  readonly issuer: string;
  /** Unix seconds. */
  readonly takenAt: number;
  /** For a grant: until when this machine must not take it again, in Unix seconds. Null for a provision token: never again. */
  readonly until: number | null;
}

/** Permission for a limited number of callers to add themselves to the list. */
export interface Grant {
  /** 22 base64url characters. */
  readonly id: string;
  /** The public key whose private key is in the token: 33 bytes in base64url. */
  readonly publicKey: string;
  /** The names that callers may have; one `*` matches any text. */
  readonly names: string;
  /** How many callers may enrol. */
  readonly uses: number;
  /** How many callers have enrolled, including those that are gone. */
  readonly used: number;
  /** How long an unused entry lasts, in seconds. */
  readonly leaseSeconds: number;
  /** The longest time that an entry lasts, in seconds. */
  readonly maxLeaseSeconds: number;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds after which no caller can enrol. */
  readonly expiresAt: number;
}

/** A revoked key. It is remembered until no old request or token can bring it back. */
export interface Tombstone {
  /** The device that was revoked. */
  readonly deviceId: string;
  /** Unix seconds. */
  readonly revokedAt: number;
  /** Unix seconds after which it may be forgotten. */
  readonly until: number;
}

/** The content of the sealed allow list; see docs/protocol.md, "The allow list". */
export interface AllowListDocument {
  /** The version of the format. */
  readonly version: 1;
  /** The public key that seals it, 33 bytes in base64url. */
  readonly owner: string;
  /** The device ID of the target that the list belongs to. */
  readonly list: string;
  /** Each change increases it by one. */
  readonly revision: number;
  /** Unix seconds. */
  readonly updatedAt: number;
  /** The authorities that the device itself accepts. */
  readonly hosts: readonly string[];
  /** The devices that this device trusts. */
  readonly devices: readonly DeviceEntry[];
  /** Issued and taken bootstrap tokens. */
  readonly tokens: readonly (IssuedToken | TakenToken)[];
  /** Issued grants. */
  readonly grants: readonly Grant[];
  /** Revoked devices. */
  readonly tombstones: readonly Tombstone[];
}
