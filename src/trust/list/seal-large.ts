import type { Signer } from '../../core/crypto/provider';
import { toBase64Url, toUtf8 } from '../../core/encoding';
import { LABELS } from '../../core/wire/labels';
import { canonical } from './canonical';
import type { AllowListDocument } from './document';
import { Turns } from './turns';

/** How many entries to process between two checks of the clock. */
const ENTRIES = 50;

/** The length of `,"seal":"…"` with a signature of 86 characters. */
const SEAL_BYTES = 96;

/**
 * Seals a document like `sealDocument`, to the same bytes, but in many turns of the event loop: entry by entry, then the
 * signature off the event loop.
 */
export async function sealLarge(document: AllowListDocument, signer: Signer): Promise<Uint8Array> {
  const turns = new Turns();
  const label = toUtf8(LABELS.allowList);
  const parts: Uint8Array[] = [label];
  let sealAt = 0;
  for (const [name, value] of Object.entries(document).sort(byName)) {
    if (name > 'seal' && sealAt === 0) sealAt = lengthOf(parts);
    parts.push(toUtf8(`${parts.length === 1 ? '{' : ','}"${name}":`), ...(await toParts(value, turns)));
  }
  parts.push(toUtf8('}'));

  // Copying megabytes is expensive: the seal is inserted into the signed bytes, by moving what follows it.
  const length = lengthOf(parts);
  const bytes = new Uint8Array(length + SEAL_BYTES + 1);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
    if (turns.isOver()) await turns.next();
  }
  const signature = await signer.sign(bytes.subarray(0, length));
  bytes.copyWithin(sealAt + SEAL_BYTES, sealAt, length);
  bytes.set(toUtf8(`,"seal":"${toBase64Url(signature)}"`), sealAt);
  bytes.set(toUtf8('\n'), length + SEAL_BYTES);
  return bytes.subarray(label.length);
}

/** The canonical form of a member, piece by piece. */
async function toParts(value: unknown, turns: Turns): Promise<Uint8Array[]> {
  if (!Array.isArray(value)) return [toUtf8(canonical([value]).slice(1, -1))];
  const parts: Uint8Array[] = [];
  let text = '[';
  for (const [index, entry] of value.entries()) {
    text += index === 0 ? '' : ',';
    text += canonical([entry]).slice(1, -1);
    if (index % ENTRIES !== 0 || !turns.isOver()) continue;
    parts.push(toUtf8(text));
    text = '';
    await turns.next();
  }
  parts.push(toUtf8(`${text}]`));
  return parts;
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}

function lengthOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((length, part) => length + part.length, 0);
}
