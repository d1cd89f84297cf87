import { withoutMembers } from '@authmesh/sdk/admin/list';
import { type Lines, valuesOf } from './header-lines';

/** The tags of a caller's signature, and of the one that it asks for, as they are sent. */
const [SIGNED, ASKED] = ['"amesh"', '"amesh-answer"'];

/**
 * The lines of an accepted request without the signature that was verified, and without the wish for a signed answer. Both are
 * between the caller and this proxy. The signatures and wishes of others stay.
 */
export function withoutSignature(lines: string[]): string[] {
  const changed = new Map<string, string | null>();
  const own = new Set<string>();
  const input = withoutMembers(valuesOf(lines, 'signature-input'), (label, tag) => {
    if (tag === SIGNED) own.add(label);
    return tag === SIGNED;
  });
  if (own.size > 0) {
    const signature = withoutMembers(valuesOf(lines, 'signature'), (label) => own.has(label));
    changed.set('signature-input', input).set('signature', signature);
  }
  const asks = valuesOf(lines, 'accept-signature');
  if (asks.some((value) => value.includes(ASKED))) {
    const left = withoutMembers(asks, (_, tag) => tag === ASKED);
    changed.set('accept-signature', left);
  }
  return changed.size === 0 ? lines : replaced(lines, changed);
}

/** The same lines, with all lines of these headers replaced by one; by none if their value is empty, or null. */
function replaced(lines: Lines, values: ReadonlyMap<string, string | null>): string[] {
  const kept: string[] = [];
  const left = new Map(values);
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const [sent, value] = [lines[i] as string, lines[i + 1] as string];
    const lower = sent.toLowerCase();
    if (!values.has(lower)) kept.push(sent, value);
    else if (left.get(lower)) kept.push(sent, left.get(lower) as string);
    left.delete(lower);
  }
  return kept;
}
