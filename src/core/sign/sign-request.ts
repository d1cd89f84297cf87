import { clientCrypto } from '#crypto';
import { isThenable } from '../and-then';
import { ACCEPT_SIGNATURE, ASK } from '../answers/answer';
import type { ClientCrypto, CryptoProvider, Signer } from '../crypto/provider';
import { deviceIdOf } from '../devices/allow-list';
import { toBase64, toBase64Url, toUtf8 } from '../encoding';
import { Fault } from '../errors/fault';
import { assertOptionNames } from '../options';
import { ROTATION_HEADER } from '../rotation/field';
import { createSignatureBase, requiredComponents, signatureParameters } from '../wire/base';
import { isDeviceId, isNonce } from '../wire/credentials';
import { contentDigest } from '../wire/digest';
import { renewed } from '../wire/fresh-request';
import { writeAuthMeshHeader } from '../wire/header';
import { readRequestLine } from '../wire/line';
import { collect, fieldValue, isRequest, type RequestView, toRequestView } from '../wire/view';

/** The headers of a signature: `Authorization: AuthMesh …`, or `Signature-Input` and `Signature`. */
export type SignatureFormat = 'authmesh' | 'rfc9421';

/** How to sign one request. Every option is optional; a wrong one is a TypeError. */
export interface SignOptions {
  /** Default `authmesh`. A request with its own `Authorization` is always signed as `rfc9421`. */
  readonly format?: SignatureFormat | undefined;
  /** The device ID of the target, sent and signed as AuthMesh-Target. */
  readonly targetDeviceId?: string | undefined;
  /** The time of the signature, Unix seconds; default now. */
  readonly created?: number | undefined;
  /** When the signature expires, Unix seconds. A TypeError with the format `authmesh`, which has no field for it. */
  readonly expires?: number | undefined;
  /** 22 base64url characters; default 16 new random bytes. A reused nonce is a replay. */
  readonly nonce?: string | undefined;
  /** Asks the target to sign its answer (`Accept-Signature`); default false. Check the answer with `verifyAnswer()`. */
  readonly asksForProof?: boolean | undefined;
  /** The largest streaming body that is buffered for hashing, in bytes; default 10,485,760 (10 MiB). */
  readonly maxBufferedBytes?: number | undefined;
  /** Default: node:crypto on Node, Bun and Deno, WebCrypto elsewhere. */
  readonly crypto?: CryptoProvider | undefined;
}

const NAMES: ReadonlySet<string> = new Set<keyof SignOptions>([
  'format',
  'targetDeviceId',
  'created',
  'expires',
  'nonce',
  'asksForProof',
  'maxBufferedBytes',
  'crypto',
]);

/** The default of `maxBufferedBytes`. */
export const DEFAULT_SIGN_BODY_BYTES = 10_485_760;

/**
 * Signs a request: adds the `Content-Digest` of its body, unless that is empty, and the signature.
 *
 * @param request a `Request`, whose body is read, or a view; nothing else changes in either
 * @param signer signs with its key
 * @returns a new request of the same kind, with the headers added
 * @throws TypeError for a wrong option or a request that no verifier would accept; AmeshError `payload_too_large` for a
 *   stream beyond `maxBufferedBytes`
 * @see docs/protocol.md, "Signing"
 */
export async function signRequest(request: Request, signer: Signer, options?: SignOptions): Promise<Request>;
export async function signRequest(
  request: RequestView,
  signer: Signer,
  options?: SignOptions,
): Promise<
  RequestView & {
    /** By lower-case name: the original headers and those of the signature. */
    headers: Record<string, string | readonly string[]>;
  }
>;
export async function signRequest(
  request: Request | RequestView,
  signer: Signer,
  options: SignOptions = {},
): Promise<Request | RequestView> {
  readSignOptions(options);
  if (!isRequest(request)) {
    const view = { ...request, headers: { ...request.headers } } as RequestView; // before the first await
    const body =
      typeof view.body === 'function'
        ? await view.body(options.maxBufferedBytes ?? DEFAULT_SIGN_BODY_BYTES)
        : view.body;
    return {
      ...view,
      body,
      headers: { ...view.headers, ...(await signParts(view, body, signer, options)).added },
    };
  }
  const source = request;
  // Otherwise a used body would pass as an empty one.
  if (source.bodyUsed) throw new TypeError('The body of this Request was already read.');
  const { target, ...rest } = toRequestView(source);
  const view = { ...rest, target: target.replace(/#.*/, '') }; // a fragment is not sent
  const headers = new Headers([...source.headers]);
  const body =
    source.body === null
      ? null
      : await collect(source.body, options.maxBufferedBytes ?? DEFAULT_SIGN_BODY_BYTES);
  const { added } = await signParts(view, body, signer, options);
  for (const [name, value] of Object.entries(added)) headers.set(name, value);
  return renewed(source, body === null ? { headers } : { headers, body });
}

/** The result of signing a request. */
export interface RequestSignature {
  /** The headers to add, by lower-case name. */
  readonly added: Record<string, string>;
  /** The text that was signed, and its signature, 64 bytes: an answer is bound to both. */
  readonly base: string;
  readonly signature: Uint8Array;
}

/**
 * @param body the bytes to send
 * @param options `rotation`: what to tell the target about the next key
 */
export async function signParts(
  view: RequestView,
  body: Uint8Array | null | undefined,
  signer: Signer,
  options: SignOptions & { readonly rotation?: string | undefined },
): Promise<RequestSignature> {
  const { crypto = clientCrypto, targetDeviceId, rotation } = options;
  const line = readRequestLine(view);
  if (line instanceof Fault) throw new TypeError(`This request cannot be signed: ${line.detail}`);

  const added: Record<string, string> = {};
  if (body && body.length > 0) {
    const digest = contentDigest(body, crypto);
    added['content-digest'] = typeof digest === 'string' ? digest : await digest;
  }
  if (targetDeviceId !== undefined) added['authmesh-target'] = targetDeviceId;
  const opening = signer.requestSigner?.();
  const worker = isThenable(opening) ? await opening : opening;
  if (worker !== undefined) added['authmesh-key'] = worker.statement;
  else if (fieldValue(view.headers, 'authmesh-key') !== undefined)
    throw new TypeError('This request has the AuthMesh-Key of another signature: remove it first.');
  if (rotation !== undefined) added[ROTATION_HEADER] = rotation;
  if (options.asksForProof) added[ACCEPT_SIGNATURE] = append(view, ACCEPT_SIGNATURE, ASK);
  const headers = { ...view.headers, ...added };
  const authorization = fieldValue(view.headers, 'authorization');
  const format = authorization === undefined ? (options.format ?? 'authmesh') : 'rfc9421';

  if (format === 'authmesh' && options.expires !== undefined)
    throw new TypeError('expires needs the format "rfc9421": the AuthMesh header has none.');

  const covered = requiredComponents(headers, format);
  const parameters = {
    created: options.created ?? Math.floor(Date.now() / 1000),
    expires: options.expires,
    nonce: options.nonce ?? toBase64Url(crypto.randomBytes(16)),
    deviceId: worker?.deviceId ?? ids.get(signer) ?? (await idOf(signer, crypto)),
  };
  const value = signatureParameters(covered, parameters);
  const base = createSignatureBase(line, headers, covered, value);
  if (base instanceof Fault) throw new TypeError(`This request cannot be signed: ${base.detail}`);
  const signature = await (worker ?? signer).sign(toUtf8(base));
  if (signature.length !== 64) throw new TypeError('The signature of the signer is not 64 bytes long.');

  if (format === 'authmesh') {
    added.authorization = writeAuthMeshHeader(
      parameters.deviceId,
      parameters.created,
      parameters.nonce,
      toBase64Url(signature),
    );
  } else {
    added['signature-input'] = append(view, 'signature-input', `amesh=${value}`);
    added.signature = append(view, 'signature', `amesh=:${toBase64(signature)}:`);
  }
  return { added, base, signature };
}

/** Another party's signature stays next to ours. */
function append(view: RequestView, name: string, member: string): string {
  const present = fieldValue(view.headers, name);
  if (present === undefined || present === member) return member;
  if (/(?:^|[, ])amesh=/.test(present))
    throw new TypeError(`This request already has a member labelled amesh in its ${name}.`);
  return `${present}, ${member}`;
}

// A map, because a Signer is the caller's object. With it, the ID is hashed once, and not for each request.
const ids = new WeakMap<Signer, string>();

/** The device ID of a signer. */
export async function idOf(signer: Signer, crypto: ClientCrypto): Promise<string> {
  const known = ids.get(signer);
  if (known !== undefined) return known;
  const deviceId = await deviceIdOf(signer.publicKey, crypto);
  ids.set(signer, deviceId);
  return deviceId;
}

function readSignOptions(options: SignOptions): void {
  assertOptionNames('signRequest()', options, NAMES);
  const { format, targetDeviceId, created, expires, nonce, asksForProof, maxBufferedBytes } = options;
  if (format !== undefined && format !== 'authmesh' && format !== 'rfc9421') {
    throw new TypeError('format must be "authmesh" or "rfc9421".');
  }
  if (targetDeviceId !== undefined && !isDeviceId(targetDeviceId))
    throw new TypeError('targetDeviceId must have the form am_….');
  if (nonce !== undefined && !isNonce(nonce)) throw new TypeError('nonce must have 22 base64url characters.');
  for (const time of [created, expires]) {
    if (time !== undefined && !(Number.isSafeInteger(time) && time >= 0)) {
      throw new TypeError('created and expires must be whole Unix seconds.');
    }
  }
  if (asksForProof !== undefined && typeof asksForProof !== 'boolean')
    throw new TypeError('asksForProof must be true or false.');
  if (maxBufferedBytes !== undefined && !(Number.isSafeInteger(maxBufferedBytes) && maxBufferedBytes >= 0)) {
    throw new TypeError('maxBufferedBytes must be a whole number of bytes.');
  }
}
