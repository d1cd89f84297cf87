import type { AmeshCode, RefusalCode } from './code-names';

/** What to do about an error. */
export interface Fix {
  /** A sentence; where a command follows, what stands before it, without a colon. */
  readonly fix: string;
  /** The command to type, an argument a word. */
  readonly command?: readonly string[] | undefined;
}

/** What a table says of a code. */
export interface Texts extends Fix {
  /** The cause in general, one sentence. */
  readonly cause: string;
}

/** What a table says of a code that goes over the wire. */
export interface WireTexts extends Texts {
  /** The HTTP status of the refusal. */
  readonly status: number;
  /** The code that the client sees; often less than the code itself. */
  readonly wire: string;
}

/** What is known of a code. */
export interface CodeFacts<C extends AmeshCode = AmeshCode> extends Texts {
  /** The code itself. */
  readonly code: C;
  /** The HTTP status of the refusal, where there is one. */
  readonly status?: number;
  /** The code that the client sees, where it sees one. */
  readonly wire?: string;
}

/** What is known of a code for which a verifier refuses. */
export interface RefusalFacts<C extends RefusalCode = RefusalCode> extends CodeFacts<C>, WireTexts {
  /** The code itself. */
  readonly code: C;
  /** The HTTP status of the refusal. */
  readonly status: number;
  /** The code that the client sees; often less than the code itself. */
  readonly wire: string;
}

/** A row for each code; those of {@link RefusalCode} have a status, and no other one has. */
type Rows<T> = {
  readonly [C in keyof T]: C extends RefusalCode
    ? WireTexts
    : C extends AmeshCode
      ? Texts & { readonly status?: never }
      : never;
};

/** The rows with their codes in them. */
type Table<T> = {
  readonly [C in keyof T]: C extends RefusalCode
    ? RefusalFacts<C> & Pick<T[C], keyof T[C] & ('status' | 'wire')>
    : C extends AmeshCode
      ? CodeFacts<C>
      : never;
};

/** The table of a room: throw one of its rows with `new AmeshError(TABLE.the_code)`. */
export function defineCodes<const T extends Rows<T>>(rows: T): Table<T> {
  const facts = Object.entries<Texts>(rows).map(([code, row]) => [code, Object.freeze({ code, ...row })]);
  return Object.freeze(Object.fromEntries(facts));
}

/**
 * Cause and fix as people read them.
 *
 * @param write how the command is shown; default with blanks between its words
 */
export function writeFix(
  { fix, command }: Fix,
  write = (words: readonly string[]) => words.join(' '),
): string {
  return command === undefined ? fix : `${fix}: ${write(command)}`;
}
