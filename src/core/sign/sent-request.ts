import { attached } from '../attached';

/** The signed request that led to a response. */
export interface SentRequest {
  /** 22 characters. */
  readonly nonce: string;
  /** In normal form. */
  readonly authority: string;
  /** The device ID in AuthMesh-Target, if it was sent. */
  readonly target?: string | undefined;
}

const requests = /* @__PURE__ */ attached<SentRequest>();

export function noteRequest(response: Response, request: SentRequest): void {
  requests.set(response, request);
}

/** The last signed request that led to a response. */
export function requestOf(response: Response): SentRequest | undefined {
  return requests.get(response);
}
