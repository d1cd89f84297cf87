import { type Signer, type SignOptions, signRequest } from '@authmesh/sdk/core';

/** A signed request in the pieces of which it is sent, to be sent as it is or bent out of shape. */
export interface RawRequest {
  readonly line: string;
  /** `Name: value`, Host first; without Content-Length and Transfer-Encoding. */
  readonly headers: readonly string[];
  readonly body: Uint8Array;
}

export async function signedRaw(
  signer: Signer,
  authority: string,
  request: {
    readonly method?: string;
    readonly target?: string;
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: Uint8Array | string;
  } = {},
  options: SignOptions = {},
): Promise<RawRequest> {
  const { method = 'GET', target = '/', headers = {}, body = '' } = request;
  const bytes = Buffer.from(body as string);
  const signed = await signRequest({ method, target, authority, headers, body: bytes }, signer, options);
  const lines = Object.entries(signed.headers).map(([name, value]) => `${name}: ${value}`);
  return { line: `${method} ${target} HTTP/1.1`, headers: [`Host: ${authority}`, ...lines], body: bytes };
}
