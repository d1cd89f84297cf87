import { isDeviceId } from '../wire/credentials';

/** The field in which a caller tells its next key, and in which a target answers. */
export const ROTATION_HEADER = 'authmesh-rotation';

/** What a target answers: whether the caller may use its next key there. */
export type RotationAnswer =
  /** An administrator has to accept it. */
  | 'waiting'
  /** The next key counts, and the former one for 30 days more. */
  | 'accepted'
  /** It does not count, and will not. */
  | 'refused'
  /** This instance cannot say: it cannot write its allow list. */
  | 'unavailable';

/** What a caller says in the field. */
export type RotationField =
  /** A statement of both keys. */
  | { readonly kind: 'rotate'; readonly text: string }
  /** A statement of both keys shall not count, also if it comes later. */
  | { readonly kind: 'withdraw-statement'; readonly text: string }
  /** The next key shall not count; or the former one no longer. */
  | { readonly kind: 'withdraw' | 'retire'; readonly nextId: string };

/** Writes the field that takes the next key back, or ends the time in which both count. */
export function toRotationField(kind: 'withdraw' | 'retire', nextId: string): string {
  return `${kind}=${nextId}`;
}

/** Writes the field that takes a statement back, which a target may not have received yet. */
export function toWithdrawal(statement: string): string {
  return `withdraw=${statement}`;
}

/** @returns null for any other text. A statement is not checked yet */
export function readRotationField(text: string): RotationField | null {
  const [, kind, nextId = ''] = /^(withdraw|retire)=(.+)$/.exec(text) ?? [];
  if (kind === 'withdraw' && /^[\w-]+\.[\w-]{86}\.[\w-]{86}$/.test(nextId))
    return { kind: 'withdraw-statement', text: nextId };
  if (kind !== undefined) return isDeviceId(nextId) ? { kind: kind as 'withdraw' | 'retire', nextId } : null;
  return text.includes('.') ? { kind: 'rotate', text } : null;
}

/** Reads an answer of a target; null for any other text. */
export function readRotationAnswer(text: string | null): RotationAnswer | null {
  return ANSWERS.find((answer) => answer === text) ?? null;
}

const ANSWERS: readonly RotationAnswer[] = ['waiting', 'accepted', 'refused', 'unavailable'];
