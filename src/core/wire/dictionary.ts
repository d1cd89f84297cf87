/** The parameters of an item or of a list, as sent: a string with its quotation marks. Empty for a parameter that is true. */
export type Parameters = ReadonlyMap<string, string>;

/** One item, as sent: a string with its quotation marks. */
export interface Item {
  readonly value: string;
  readonly parameters: Parameters;
}

/** A member of a dictionary: an item, which is empty for a member that is true, or an inner list. */
export interface Member extends Item {
  /** The items of an inner list, which has no value of its own; null for an item. */
  readonly items: readonly Item[] | null;
}

const NONE: Parameters = new Map();

/** Only items of a list are written so: a member or parameter that is true has no value. */
const TRUE = '?1';
const SPACES = / */y;
const BLANKS = /[ \t]*/y;
const KEY = /[a-z*][a-z0-9_.*-]*/y;
/** A decimal, an integer, a string, a token, bytes or a boolean, each in the only spelling that a serializer writes. */
const BARE =
  /-?(?:0|[1-9]\d{0,11})\.\d{0,2}[1-9]|0|-?[1-9]\d{0,14}|"(?:[ !#-[\]-~]|\\["\\])*"|[A-Za-z*][\w!#$%&'*+.^`|~:/-]*|:(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?:|\?[01]/y;

/**
 * Reads a dictionary in one pass, in a time that depends only on its length. Apart from spaces, it accepts only the spelling that a
 * serializer writes: no key twice, no `1.0`, no `;flag=?1`, no base64 with other padding. So all readers agree about its content.
 *
 * The types are those of RFC 8941, to which RFC 9421 refers, without dates and display strings.
 *
 * @param maxMembers a dictionary with more is refused
 * @returns null if it is malformed
 * @see RFC 8941 sections 3.2 and 4.2
 */
export function readDictionary(text: string, maxMembers: number): ReadonlyMap<string, Member> | null {
  return new Reader(text).dictionary(maxMembers);
}

/** A list of a dictionary as it is serialised. */
export function writeList({ items, parameters }: { items: readonly Item[]; parameters: Parameters }): string {
  const parts = items.map((item) => item.value + writeParameters(item.parameters));
  return `(${parts.join(' ')})${writeParameters(parameters)}`;
}

/** The most members of a field that {@link withoutMembers} reads. */
const MOST_MEMBERS = 64;

/**
 * A dictionary without some of its members, as the value of a field: for a proxy that passes on only what is not meant for itself.
 *
 * @param lines the lines of the field
 * @param drops whether to leave a member out; called with its label, and with its parameter `tag` as sent, if it has one
 * @returns empty if no member is left; null if the dictionary is malformed, or has more than 64 members
 */
export function withoutMembers(
  lines: readonly string[],
  drops: (label: string, tag: string | undefined) => boolean,
): string | null {
  const members = readDictionary(lines.join(', '), MOST_MEMBERS);
  if (members === null) return null;
  const kept: string[] = [];
  for (const [label, member] of members)
    if (!drops(label, member.parameters.get('tag'))) kept.push(label + writeMember(member));
  return kept.join(', ');
}

function writeMember({ items, value, parameters }: Member): string {
  if (items !== null) return `=${writeList({ items, parameters })}`;
  return `${value === '' ? '' : `=${value}`}${writeParameters(parameters)}`;
}

function writeParameters(parameters: Parameters): string {
  let text = '';
  for (const [name, value] of parameters) text += value === '' ? `;${name}` : `;${name}=${value}`;
  return text;
}

/** Each method reads from the current position, and returns null for malformed text. */
class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  dictionary(maxMembers: number): Map<string, Member> | null {
    const members = new Map<string, Member>();
    this.#match(SPACES);
    while (!this.#isAtEnd()) {
      const key = this.#match(KEY);
      if (key === null || members.has(key) || members.size === maxMembers) return null;
      const member = this.#member();
      if (member === null) return null;
      members.set(key, member);
      this.#match(BLANKS);
      if (this.#isAtEnd()) break;
      if (!this.#skips(0x2c)) return null;
      this.#match(BLANKS);
      if (this.#isAtEnd()) return null;
    }
    return members;
  }

  #member(): Member | null {
    if (this.#skips(0x3d)) {
      const member = this.#skips(0x28) ? this.#list() : this.#item();
      return member?.value === TRUE ? null : member;
    }
    const parameters = this.#parameters();
    return parameters && { items: null, value: '', parameters };
  }

  #list(): Member | null {
    const items: Item[] = [];
    for (;;) {
      this.#match(SPACES);
      if (this.#skips(0x29)) break;
      const item = this.#item();
      if (item === null || (!this.#isNext(0x20) && !this.#isNext(0x29))) return null;
      items.push(item);
    }
    const parameters = this.#parameters();
    return parameters && { items, value: '', parameters };
  }

  #item(): Member | null {
    const value = this.#match(BARE);
    if (value === null) return null;
    const parameters = this.#parameters();
    return parameters && { items: null, value, parameters };
  }

  #parameters(): Parameters | null {
    if (!this.#isNext(0x3b)) return NONE;
    const parameters = new Map<string, string>();
    while (this.#skips(0x3b)) {
      this.#match(SPACES);
      const key = this.#match(KEY);
      if (key === null || parameters.has(key)) return null;
      const value = this.#skips(0x3d) ? this.#match(BARE) : '';
      if (value === null || value === TRUE) return null;
      parameters.set(key, value);
    }
    return parameters;
  }

  #isAtEnd(): boolean {
    return this.#at === this.#text.length;
  }

  #isNext(code: number): boolean {
    return this.#text.charCodeAt(this.#at) === code;
  }

  #skips(code: number): boolean {
    const isNext = this.#isNext(code);
    if (isNext) this.#at++;
    return isNext;
  }

  /** The text that a sticky pattern matches here. */
  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const [found = null] = pattern.exec(this.#text) ?? [];
    if (found !== null) this.#at += found.length;
    return found;
  }
}
