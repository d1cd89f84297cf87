import { isDeviceId } from '../wire/credentials';

/** The field in which a caller tells a target its next key, and in which the target answers. */
export const ROTATION_HEADER = 'authmesh-rotation';

/** What a target answers: whether the caller may use its next key there. To a withdrawal, only `withdrawn` says that it may not. */
export type RotationAnswer =
  /** An administrator has to accept it. */
  | 'waiting'
  /** The next key counts, and the former one for 30 days more. */
  | 'accepted'
  /** It does not count, and never will. After a withdrawal: nothing was changed. */
  | 'refused'
  /** Only after a withdrawal: the next key does not count. */
  | 'withdrawn'
  /** This instance cannot say: it cannot write its allow list. */
  | 'unavailable';

/** What a caller says in the field. */
export type RotationField =
  /** A statement of both keys. */
  | { readonly kind: 'rotate'; readonly text: string }
  /** A statement of both keys must not count, even if it arrives later. */
  | { readonly kind: 'withdraw-statement'; readonly text: string }
  /** The next key must not count (`withdraw`), or the former key must no longer count (`retire`). */
  | { readonly kind: 'withdraw' | 'retire'; readonly nextId: string };

/** Writes the field that takes the next key back, or ends the time in which both keys count. */
export function toRotationField(kind: 'withdraw' | 'retire', nextId: string): string {
  return `${kind}=${nextId}`;
}

/** Writes the field that takes back a statement, which the target may not have received yet. */
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
  return ANSWERS.test(text as string) ? (text as RotationAnswer) : null; // null is no answer, even as text
}

const ANSWERS = /^(?:waiting|accepted|refused|withdrawn|unavailable)$/;
