import type { AmeshCode, RefusalCode } from './code-names';

/** The fix of an error. */
export interface Fix {
  /** A sentence. If a command follows, the text before it, without the colon. */
  readonly fix: string;
  /** The command to type, as an array of arguments. */
  readonly command?: readonly string[] | undefined;
}

/** A row in a table of codes. */
export interface Texts extends Fix {
  /** The general cause: one sentence. */
  readonly cause: string;
}

/** A row for a code with an HTTP status. */
export interface WireTexts extends Texts {
  /** The HTTP status of the refusal. */
  readonly status: number;
  /** The code that the client sees; often less precise than the code itself. */
  readonly wire: string;
}

/** A code with its texts. */
export interface CodeFacts<C extends AmeshCode = AmeshCode> extends Texts {
  /** The code itself. */
  readonly code: C;
  /** The HTTP status of the refusal, if there is one. */
  readonly status?: number;
  /** The code that the client sees, if any. */
  readonly wire?: string;
}

/** A code of a verifier's refusal, with its texts. */
export interface RefusalFacts<C extends RefusalCode = RefusalCode> extends CodeFacts<C>, WireTexts {
  /** The code itself. */
  readonly code: C;
  /** The HTTP status of the refusal. */
  readonly status: number;
  /** The code that the client sees; often less precise than the code itself. */
  readonly wire: string;
  /** Only for `scope_missing` of a request: the scope, which the client sees, too. */
  readonly scope?: string;
}

/** A row for each code. Exactly the codes of {@link RefusalCode} have a status. */
type Rows<T> = {
  readonly [C in keyof T]: C extends RefusalCode
    ? WireTexts
    : C extends AmeshCode
      ? Texts & { readonly status?: never }
      : never;
};

/** The rows, each with its code. */
type Table<T> = {
  readonly [C in keyof T]: C extends RefusalCode
    ? RefusalFacts<C> & Pick<T[C], keyof T[C] & ('status' | 'wire')>
    : C extends AmeshCode
      ? CodeFacts<C>
      : never;
};

/** Defines the code table of a folder. Throw a row with `new AmeshError(TABLE.the_code)`. */
export function defineCodes<const T extends Rows<T>>(rows: T): Table<T> {
  const facts = Object.entries<Texts>(rows).map(([code, row]) => [code, Object.freeze({ code, ...row })]);
  return Object.freeze(Object.fromEntries(facts));
}

/** Adds a full stop to a text that does not end like a sentence. */
export function asSentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

/**
 * The fix and its command as text.
 *
 * @param write turns the command into text; default: its arguments separated by spaces
 */
export function writeFix(
  { fix, command }: Fix,
  write = (words: readonly string[]) => words.join(' '),
): string {
  return command === undefined ? fix : `${fix}: ${write(command)}`;
}
