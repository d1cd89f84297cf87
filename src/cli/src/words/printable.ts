const UNSEEN = /[\p{C}\p{Default_Ignorable_Code_Point}\u2028\u2029]/gu;

/** Text on one line. Control and invisible characters are shown as `\u{…}`. */
export function printable(text: string): string {
  return text.replace(UNSEEN, (character) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`);
}

/** JSON on one line, with control and invisible characters escaped, so that a terminal ignores them. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(UNSEEN, (character) =>
    Array.from({ length: character.length }, (_, index) => escapeUnit(character.charCodeAt(index))).join(''),
  );
}

function escapeUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

/** A delegation, an answer key or a bootstrap token, by its beginning. */
const SECRET = /\b(amesh_(?:delegation|answer_key)_|eyJ)[\w.~-]{20,}/g;

/** A text that may repeat an argument: somebody may have typed a secret where an ID or a name belongs. */
export function withoutSecrets(text: string): string {
  return text.replace(SECRET, '$1…');
}
