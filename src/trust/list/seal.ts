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
 * Seals a document: its RFC 8785 canonical form with the owner's signature in it, and a newline.
 *
 * @returns the exact bytes that {@link openDocument} takes
 */
export async function sealDocument(document: AllowListDocument, signer: Signer): Promise<Uint8Array> {
  const seal = toBase64Url(await signer.sign(sealedBytes(document)));
  return toUtf8(`${canonical({ ...document, seal })}\n`);
}

/**
 * Opens a sealed document.
 *
 * @param owner the trust anchor: the public key of the opened private key, 33 bytes
 * @param list the deviceId for which the list has to be
 * @throws AllowListIntegrityError where any byte differs from what the owner sealed
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
      'The allow list is of a version that this amesh does not know.',
      NEWER_AMESH,
    );
  if (document.list !== list)
    throw new AllowListIntegrityError('The allow list is the one of another device.');
  assertShape(document);
  return document;
}

/** The owner that bytes name, whatever their seal is worth; null where they name none. */
export function claimedOwner(bytes: Uint8Array | null): string | null {
  const match = bytes === null ? null : /"owner":"([A-Za-z0-9_-]{44})"/.exec(new TextDecoder().decode(bytes));
  return match?.[1] ?? null;
}

/** The SHA-256 of a document's bytes in base64url: 43 characters. */
export async function hashDocument(bytes: Uint8Array): Promise<string> {
  // A large one beside the event loop; a small one is hashed sooner than it is sent there.
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
    // It throws for what JSON can say and its canonical form cannot: half a surrogate pair, 1e999, too deep a tree.
    text = typeof value === 'object' && value !== null ? canonical(value) : '';
  } catch {
    throw new AllowListIntegrityError('The allow list is no JSON.');
  }
  if (!text.startsWith('{')) throw new AllowListIntegrityError('The allow list is no JSON object.');
  // One text for one meaning: a doubled key or other spaces would be the same document to one reader only.
  if (!equalBytes(toUtf8(`${text}\n`), bytes)) {
    throw new AllowListIntegrityError('The allow list is not in canonical form.');
  }
  return value as Sealed;
}
