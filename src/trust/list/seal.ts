import { cryptoProvider } from '#crypto';
import type { PublicKey, Signer } from '../../core/crypto/provider';
import { webCrypto } from '../../core/crypto/web';
import { equalBytes, fromBase64Url, fromUtf8, toBase64Url, toUtf8 } from '../../core/encoding';
import { AllowListIntegrityError } from '../../core/errors/amesh-error';
import { LABELS } from '../../core/wire/labels';
import { canonical } from './canonical';
import type { AllowListDocument } from './document';
import { assertShape, NEWER_AMESH } from './shape';

type Sealed = AllowListDocument & { readonly seal: string };

/**
 * Seals a document: its canonical form (RFC 8785) with the owner's signature in it, and a newline.
 *
 * @returns the exact bytes that {@link openDocument} accepts
 */
export async function sealDocument(document: AllowListDocument, signer: Signer): Promise<Uint8Array> {
  const seal = toBase64Url(await signer.sign(sealedBytes(document)));
  return toUtf8(`${canonical({ ...document, seal })}\n`);
}

/**
 * Opens a sealed document.
 * @param owner the public key that must have sealed it, which is the trust anchor: 33 bytes
 * @param list the device ID of the target that the list must belong to
 * @throws AllowListIntegrityError if any byte differs from what the owner sealed
 */
export async function openDocument(
  bytes: Uint8Array,
  owner: Uint8Array,
  list: string,
): Promise<AllowListDocument> {
  const sealed = parse(bytes);
  const ownerText = toBase64Url(owner);
  const { seal, ...document } = sealed;
  if (sealed.owner !== ownerText)
    throw new AllowListIntegrityError('The allow list is sealed by another device.');
  const signature = typeof seal === 'string' ? fromBase64Url(seal) : null;
  const key = await importOwner(owner, ownerText);
  if (signature === null || !(await key.verify(signature, sealedBytes(document)))) {
    throw new AllowListIntegrityError('The seal of the allow list is broken.');
  }
  if (document.version !== 1)
    throw new AllowListIntegrityError(
      'The version of the allow list is unknown to this version of amesh.',
      NEWER_AMESH,
    );
  if (document.list !== list) throw new AllowListIntegrityError('The allow list belongs to another device.');
  assertShape(document);
  return document;
}

/** The owner that a list names, without checking its seal; null if it names none. */
export function claimedOwner(bytes: Uint8Array | null): string | null {
  const match = bytes === null ? null : /"owner":"([A-Za-z0-9_-]{44})"/.exec(new TextDecoder().decode(bytes));
  return match?.[1] ?? null;
}

/** The SHA-256 of a document's bytes in base64url: 43 characters. */
export async function hashDocument(bytes: Uint8Array): Promise<string> {
  // Web Crypto hashes off the event loop, but for a small list the handover takes longer than the hash.
  const { sha256 } = bytes.length > 262_144 ? webCrypto : cryptoProvider;
  return toBase64Url(await sha256(bytes));
}

const owners = new Map<string, PublicKey>();

async function importOwner(owner: Uint8Array, text: string): Promise<PublicKey> {
  const key = owners.get(text) ?? (await cryptoProvider.importPublicKey(owner));
  owners.set(text, key);
  return key;
}

function sealedBytes(document: object): Uint8Array {
  return toUtf8(LABELS.allowList + canonical(document));
}

function parse(bytes: Uint8Array): Sealed {
  let value: unknown;
  let text: string;
  try {
    value = JSON.parse(fromUtf8(bytes));
    // It throws for valid JSON without a canonical form: a lone surrogate, 1e999, or nesting that is too deep.
    text = typeof value === 'object' && value !== null ? canonical(value) : '';
  } catch {
    throw new AllowListIntegrityError('The allow list is not JSON.');
  }
  if (!text.startsWith('{')) throw new AllowListIntegrityError('The allow list is not a JSON object.');
  // One meaning has one text. Parsers disagree about duplicate keys, so no other spelling is accepted.
  if (!equalBytes(toUtf8(`${text}\n`), bytes)) {
    throw new AllowListIntegrityError('The allow list is not in canonical form.');
  }
  return value as Sealed;
}
