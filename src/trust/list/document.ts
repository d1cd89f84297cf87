import type { Role } from '../../core/devices/allow-list';

/** A device in the allow list. */
export interface DeviceEntry {
  /** `am_` and 16 base64url characters of the SHA-256 of the public key. */
  readonly deviceId: string;
  /** The compressed point, 33 bytes, in base64url. */
  readonly publicKey: string;
  /** For people: at most 64 code points. */
  readonly friendlyName: string;
  /** What it may do; at least one role. */
  readonly roles: readonly Role[];
  /** For a target: the authorities at which it is called. */
  readonly hosts: readonly string[];
  /** Unix seconds. */
  readonly addedAt: number;
  /** For a target: it has not yet shown that it trusts this device. Absent where it has. */
  readonly unconfirmed?: true;
  /** For a controller that came by a grant: until when it may call. Absent where that has no end. */
  readonly lease?: Lease;
}

/** For how long a controller that came by a grant may call. */
export interface Lease {
  /** The id of the grant. */
  readonly grant: string;
  /** Unix seconds; moves on with use. */
  readonly expiresAt: number;
  /** Unix seconds beyond which it never moves. */
  readonly endsAt: number;
}

/** A provision token that this device has issued. */
export interface IssuedToken {
  /** Tells it from a token that was taken. */
  readonly kind: 'issued';
  /** 22 base64url characters. */
  readonly id: string;
  /** What the machine that takes it is to be called. */
  readonly friendlyName: string;
  /** The authorities at which that machine will be called, in normal form. */
  readonly hosts: readonly string[];
  /** 32 bytes in base64url, with which the machine proves that it has the token. */
  readonly secret: string;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds. */
  readonly expiresAt: number;
  /** The public key of the machine that has registered with it; null until then. */
  readonly takenBy: string | null;
  /** Unix seconds; null where it was not. */
  readonly cancelledAt: number | null;
}

/** A bootstrap token that this device has taken. */
export interface TakenToken {
  /** Tells it from a token that was issued. */
  readonly kind: 'taken';
  /** 22 base64url characters; of a grant its id. */
  readonly id: string;
  /** The deviceId of the issuer. */
  readonly issuer: string;
  /** Unix seconds. */
  readonly takenAt: number;
  /** For a grant: until when it is not to be taken again, Unix seconds. For a provision token null, which is for ever. */
  readonly until: number | null;
}

/** Leave for callers to put themselves into the list, as many as it says. */
export interface Grant {
  /** 22 base64url characters. */
  readonly id: string;
  /** Of the key pair of which the token holds the private half: 33 bytes in base64url. */
  readonly publicKey: string;
  /** What the callers may be called; one `*` stands for anything. */
  readonly names: string;
  /** How many may enrol. */
  readonly uses: number;
  /** How many have, those included that are gone. */
  readonly used: number;
  /** How long an unused entry lasts, in seconds. */
  readonly leaseSeconds: number;
  /** How long an entry lasts at most, in seconds. */
  readonly maxLeaseSeconds: number;
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds after which nobody enrols any more. */
  readonly expiresAt: number;
}

/** A key that was revoked, remembered until nothing old could bring it back. */
export interface Tombstone {
  /** The device that was revoked. */
  readonly deviceId: string;
  /** Unix seconds. */
  readonly revokedAt: number;
  /** Unix seconds after which it may be forgotten. */
  readonly until: number;
}

/** The allow list as it is sealed; see docs/protocol.md, "The allow list". */
export interface AllowListDocument {
  /** Of the format. */
  readonly version: 1;
  /** The public key that seals it, 33 bytes in base64url. */
  readonly owner: string;
  /** The deviceId whose list this is. */
  readonly list: string;
  /** Counts up by one at each change. */
  readonly revision: number;
  /** Unix seconds. */
  readonly updatedAt: number;
  /** The authorities to which the device itself answers. */
  readonly hosts: readonly string[];
  /** Whom this device trusts. */
  readonly devices: readonly DeviceEntry[];
  /** Bootstrap tokens issued and taken. */
  readonly tokens: readonly (IssuedToken | TakenToken)[];
  /** Grants given. */
  readonly grants: readonly Grant[];
  /** What was revoked. */
  readonly tombstones: readonly Tombstone[];
}
