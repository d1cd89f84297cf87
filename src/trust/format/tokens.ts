/** A provision token that this device has issued. */
export interface IssuedToken {
  /** Distinguishes it from a {@link TakenToken}. */
  readonly kind: 'issued';
  /** 22 base64url characters. */
  readonly id: string;
  /** The name for the machine that takes it. */
  readonly friendlyName: string;
  /** The authorities under which that machine will be called, in normal form. */
  readonly hosts: readonly string[];
  /** What this device may do on that machine. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[];
  /** 32 bytes in base64url, by which the machine proves that it has the token. */
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
  /** Distinguishes it from an {@link IssuedToken}. */
  readonly kind: 'taken';
  /** 22 base64url characters; for a grant, the ID of the grant. */
  readonly id: string;
  /** The deviceId of the issuer. */
  readonly issuer: string;
  /** Unix seconds. */
  readonly takenAt: number;
  /**
   * For a grant: Unix seconds until which it must not be taken again. Null for a provision token, which must never be taken again.
   */
  readonly until: number | null;
}

/** Permission for a number of callers to enrol themselves. */
export interface Grant {
  /** 22 base64url characters. */
  readonly id: string;
  /** 33 bytes in base64url. The token holds the private half. */
  readonly publicKey: string;
  /** The names that callers may use; one `*` matches any text. */
  readonly names: string;
  /** How many callers may enrol. */
  readonly uses: number;
  /** How many have enrolled, including those that are gone. */
  readonly used: number;
  /** How long an unused entry lasts, in seconds. */
  readonly leaseSeconds: number;
  /** How long an entry lasts at most, in seconds. */
  readonly maxLeaseSeconds: number;
  /** What these callers may do. Absent: nothing that requires a scope. */
  readonly scopes?: readonly string[];
  /** Unix seconds. */
  readonly issuedAt: number;
  /** Unix seconds after which nobody can enrol. */
  readonly expiresAt: number;
}
