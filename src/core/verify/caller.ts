/** The verified controller of a request: what `req.authMesh` holds. */
export interface AuthMeshIdentity {
  /** `am_` and 16 base64url characters; stable, and the thing to compare. */
  readonly deviceId: string;
  /** The name under which it was paired; unique in this allow list, at most 64 code points. */
  readonly friendlyName: string;
  /** Unix seconds. */
  readonly verifiedAt: number;
}
