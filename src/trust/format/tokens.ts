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
  /** What this device is to be allowed to do there. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[];
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
  /** 22 base64url characters; of a grant its ID. */
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
  /** What its callers may do. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[];
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds after which nobody enrols any more. */
  readonly expiresAt: number;
}
