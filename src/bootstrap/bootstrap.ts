import { AmeshError, isAmeshError } from '../core/errors';
import { FileStore } from '../trust/file-store';
import type { Env } from '../trust/home';
import { readIdentity } from '../trust/identity';
import { kindOf, readToken } from './read-token';
import { takeProvisionToken } from './take-provision';
import type { ProvisionClaims, TokenKind } from './token';

export interface BootstrapOptions {
  readonly dir: string;
  readonly env: Env;
  /** Says a line once. */
  readonly tell: (line: string) => void;
}

/**
 * The token in the environment of one instance: found when it is first needed, taken once, and tried again where the
 * machine and not the token is what failed.
 */
export class Bootstrap {
  readonly #options: BootstrapOptions;
  /** Out of the environment, and not yet done with. */
  #inHand: { readonly text: string; readonly kind: TokenKind | null } | undefined;
  /** What needs no second look, where an environment is not ours to change. */
  #doneWith: string | undefined;
  #taking: Promise<boolean> | undefined;
  #taken: ProvisionClaims | undefined;

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  /** Whether there is a token to be taken, or being taken. */
  get isPending(): boolean {
    return this.#inHand !== undefined || ![undefined, '', this.#doneWith].includes(this.#text);
  }

  /** The provision token that this process has taken, or found to be taken. */
  get taken(): ProvisionClaims | undefined {
    return this.#taken;
  }

  /**
   * Takes a provision token, for a machine that is called.
   *
   * @returns whether it was taken now
   * @throws AmeshError saying what is wrong with it, where the machine has no identity without it
   */
  asTarget(): Promise<boolean> {
    return this.#take('provision');
  }

  get #text(): string | undefined {
    return this.#options.env.AMESH_BOOTSTRAP_TOKEN?.trim();
  }

  #take(wanted: TokenKind): Promise<boolean> {
    const token = this.#look(wanted);
    if (token === undefined) return Promise.resolve(false);
    if (token.kind !== null && token.kind !== wanted)
      return this.#unlessSettled(wrongKind(token.kind), () => {});
    this.#taking ??= this.#provision(token.text)
      .catch((error) => {
        if (!isAboutToken(error)) throw error;
        return this.#unlessSettled(error, () => {
          this.#doneWith = token.text;
          this.#inHand = undefined;
          this.#options.tell(`AMESH_BOOTSTRAP_TOKEN was not taken, ${error.code}: ${error.message}`);
        });
      })
      .finally(() => {
        this.#taking = undefined;
      });
    return this.#taking;
  }

  /** What is in hand, or in the environment; from there only what is wanted is taken, and what nobody could want. */
  #look(wanted: TokenKind) {
    const { env } = this.#options;
    const text = this.#text;
    if (this.#inHand !== undefined || !text || text === this.#doneWith) return this.#inHand;
    const found = { text, kind: kindOf(text) };
    if (found.kind !== null && found.kind !== wanted) return found;
    // For the programs that this one starts, and whatever prints its environment.
    if (env === process.env) delete process.env.AMESH_BOOTSTRAP_TOKEN;
    this.#inHand = found;
    return found;
  }

  async #provision(text: string): Promise<boolean> {
    const { dir, env } = this.#options;
    const token = await readToken(text);
    if (token.kind !== 'provision') throw wrongKind(token.kind);
    const isNew = await takeProvisionToken(token.claims, dir, env);
    this.#taken = token.claims;
    this.#doneWith = text;
    this.#inHand = undefined;
    return isNew;
  }

  /** A machine that has an identity does not need the token: its controllers must not be shut out by a wrong one. */
  async #unlessSettled(error: AmeshError, settle: () => void): Promise<false> {
    if ((await readIdentity(new FileStore(this.#options.dir))) === null) throw error;
    settle();
    return false;
  }
}

function isAboutToken(error: unknown): error is AmeshError {
  return isAmeshError(error) && /^(?:token_|own_key$|key_mismatch$)/.test(error.code);
}

function wrongKind(kind: TokenKind): AmeshError {
  return kind === 'grant'
    ? new AmeshError(
        'token_wrong_type',
        'The token is a grant, which is for a machine that calls: amesh.fetch takes it.',
        {
          fix: 'A machine that is called takes a token of: amesh provision',
        },
      )
    : new AmeshError(
        'token_wrong_type',
        'The token is for a machine that is called: amesh.verify() takes it.',
        { fix: 'A machine that calls takes a token of: amesh grant' },
      );
}
