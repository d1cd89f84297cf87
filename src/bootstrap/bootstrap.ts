import { hostname } from 'node:os';
import { AmeshError, isAmeshError } from '../core/errors/amesh-error';
import { isLoopback } from '../core/wire/authority';
import type { Env } from '../process/home';
import type { Device } from '../trust/device';
import type { AllowListDocument } from '../trust/list/document';
import { findTaken } from '../trust/tokens';
import { BOOTSTRAP_CODES } from './errors/codes';
import { HeldGrant } from './grants/held-grant';
import { isFor } from './grants/request-enrolment';
import { registerAtRelay } from './provision/register-at-relay';
import { type Taker, takeProvisionToken } from './provision/take-provision';
import { nameFor } from './tokens/names';
import { assertTimely, kindOf, readToken } from './tokens/read-token';
import type { GrantClaims, ProvisionClaims, TokenKind } from './tokens/token';

export interface BootstrapOptions extends Taker {
  readonly env: Env;
  /** Whether it reads the list of another key (AMESH_OWNER_KEY). A provision token would change nothing there. */
  readonly isReader: boolean;
  /** Says a line once. */
  readonly tell: (line: string) => void;
  /** Sends enrolments. */
  readonly fetch: typeof globalThis.fetch;
}

/** A token out of the environment. */
interface Token {
  readonly text: string;
  /** What it says it is; null where it is no token. */
  readonly kind: TokenKind | null;
  /** The claims of a grant for which this machine is ready. It enrols once its target is called. */
  readonly readyFor?: GrantClaims;
}

/*
 * The states of the token of one instance:
 *
 *   none       a token is needed, and one is there     → pending
 *   pending    an instance takes it                    → taking
 *   taking     it was taken, or is wrong               → settled
 *   taking     the machine failed, and not the token   → pending: the next call tries again
 *   taking     a grant, and another host was called    → pending, ready for its target
 *   settled    the environment has another token       → pending
 */
type TokenState =
  | { readonly name: 'none' }
  /** Out of the environment, and not yet done with. */
  | { readonly name: 'pending'; readonly token: Token }
  | { readonly name: 'taking'; readonly token: Token; readonly result: Promise<boolean> }
  /** Needs no second look, where an environment is not ours to change. */
  | { readonly name: 'settled'; readonly text: string };

/**
 * The token in the environment of one instance: found when it is first needed, taken once, and tried again where the
 * machine has failed and not the token.
 */
export class Bootstrap {
  readonly #options: BootstrapOptions;
  #state: TokenState = { name: 'none' };
  #taken: ProvisionClaims | undefined;
  #held: HeldGrant | undefined;

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  /** Whether there is a token to be taken, or being taken. */
  get isPending(): boolean {
    return this.#pending !== undefined || this.#unseen() !== undefined;
  }

  /** The provision token that this process has taken, or found to be taken. */
  get taken(): ProvisionClaims | undefined {
    return this.#taken;
  }

  /** That there is a grant for another target than the one that was called; undefined where there is none. */
  get grantElsewhere(): string | undefined {
    const claims = this.#pending?.readyFor;
    if (claims === undefined) return undefined;
    const hosts = claims.hosts.join(', ') || 'localhost';
    return `The grant of AMESH_BOOTSTRAP_TOKEN is for ${hosts}. Another host was called and has refused, and the grant was not taken.`;
  }

  /** The grant by which this machine has enrolled, now or before. */
  get held(): HeldGrant | undefined {
    return this.#held;
  }

  /**
   * Takes a provision token, for a machine that is called.
   *
   * @returns whether it was taken now
   * @throws AmeshError saying what is wrong with it, where the machine has no identity without it, or no list of its own
   */
  async asTarget(): Promise<boolean> {
    const token = this.#find('provision');
    if (token === undefined) return false;
    if (this.#options.isReader) {
      if (token.kind === 'grant') return false; // for fetch
      this.#settle(token);
      throw noListOfItsOwn();
    }
    if (token.kind !== 'grant') return this.#take(token, () => this.#provision(token));
    await this.#assertIdentity(wrongKind('grant'));
    return false;
  }

  /**
   * Enrols a machine that calls by a grant, once the grant's target is called.
   *
   * @param url what is called; null for the target itself, wherever that is
   * @returns whether it has enrolled now
   * @throws AmeshError saying what is wrong with it, where the machine has no identity without it; as `enrolAt()`
   */
  async asCaller(url: URL | null): Promise<boolean> {
    for (;;) {
      const token = this.#find('grant');
      if (token === undefined) return false;
      if (url !== null && token.readyFor !== undefined && !isFor(token.readyFor, url)) return false;
      if (token.kind === 'provision') {
        if (this.#pending !== undefined) return this.asTarget(); // verify() of the same instance has it
        await this.#assertIdentity(wrongKind('provision'));
        return false;
      }
      if (this.#state.name !== 'taking') return this.#take(token, () => this.#enrol(token, url));
      await this.#state.result.catch(() => {}); // perhaps for another URL: look again
    }
  }

  /** Takes a token of either kind. */
  async take(): Promise<boolean> {
    const token = this.#pending ?? this.#unseen();
    return token?.kind === 'grant' ? this.asCaller(null) : this.asTarget();
  }

  /** The token that was found and is not done with. */
  get #pending(): Token | undefined {
    return this.#state.name === 'pending' || this.#state.name === 'taking' ? this.#state.token : undefined;
  }

  /** The token in the environment, unless it is done with. */
  #unseen(): Token | undefined {
    const text = this.#options.env.AMESH_BOOTSTRAP_TOKEN?.trim();
    if (!text || (this.#state.name === 'settled' && this.#state.text === text)) return undefined;
    return { text, kind: kindOf(text) };
  }

  /** The token, out of the environment where it is of the kind that is wanted, or of none. */
  #find(wanted: TokenKind): Token | undefined {
    if (this.#pending !== undefined) return this.#pending;
    const token = this.#unseen();
    if (token === undefined || (token.kind !== null && token.kind !== wanted)) return token;
    const { env } = this.#options;
    // The programs that this one starts do not get it, nor does anything that prints the environment.
    if (env === process.env) delete process.env.AMESH_BOOTSTRAP_TOKEN;
    this.#state = { name: 'pending', token };
    return token;
  }

  /** Takes a token once for all who ask at the same time. */
  #take(token: Token, take: () => Promise<boolean>): Promise<boolean> {
    if (this.#state.name === 'taking') return this.#state.result;
    const result = this.#attempt(token, take);
    this.#state = { name: 'taking', token, result };
    return result;
  }

  async #attempt(token: Token, take: () => Promise<boolean>): Promise<boolean> {
    try {
      return await take();
    } catch (error) {
      if (!isAboutToken(error)) throw error;
      await this.#assertIdentity(error);
      this.#settle(token);
      this.#options.tell(`AMESH_BOOTSTRAP_TOKEN was not taken, ${error.code}: ${error.message}`);
      return false;
    } finally {
      if (this.#state.name === 'taking') this.#state = { name: 'pending', token: this.#state.token };
    }
  }

  async #provision(token: Token): Promise<boolean> {
    const read = await readToken(token.text);
    if (read.kind !== 'provision') throw wrongKind(read.kind);
    const { claims } = read;
    const issuer = await takeProvisionToken(claims, this.#options);
    this.#taken = claims;
    this.#settle(token);
    if (issuer === null) return false;
    this.#options.tell(
      `AMESH_BOOTSTRAP_TOKEN was taken: ${JSON.stringify(issuer)} (${claims.iss}) may now call this machine. Undo: amesh revoke ${claims.iss}`,
    );
    // Nothing waits for it: the issuer need not be there, and else hears of it with the first answer.
    registerAtRelay(claims, this.#options.open).catch(() => {});
    return true;
  }

  async #enrol(token: Token, url: URL | null): Promise<boolean> {
    const { open, create, fetch, tell } = this.#options;
    const read = await readToken(token.text);
    if (read.kind !== 'grant') throw wrongKind(read.kind);
    const { claims } = read;
    const nowSeconds = Math.floor(Date.now() / 1000);
    const opened = await open();
    const hold = (device: Device) => new HeldGrant({ claims, device, fetch, tell });
    if (opened !== null && isStillGood(await opened.trust.read(), claims, nowSeconds)) {
      this.#held = hold(opened);
      this.#settle(token);
      return false;
    }
    assertTimely(read, nowSeconds); // before anything is written
    const device = opened ?? (await create(nameFor(claims.callers, hostname())));
    if (this.#state.name === 'taking')
      this.#state = { ...this.#state, token: { ...token, readyFor: claims } };
    const origin = url ?? originOf(claims);
    if (origin === null || !isFor(claims, origin)) return false;
    const held = hold(device);
    await held.enrol(origin);
    this.#held = held;
    this.#settle(token);
    return true;
  }

  #settle({ text }: Token): void {
    this.#state = { name: 'settled', text };
  }

  /**
   * A machine that has an identity does not need the token: a wrong one must not shut out those that it knows.
   *
   * @throws the error, where there is no identity
   */
  async #assertIdentity(error: AmeshError): Promise<void> {
    if ((await this.#options.open()) === null) throw error;
  }
}

/** A grant that was taken is as good as the list of the target says while it lasts, or can no longer be taken anew. */
function isStillGood(list: AllowListDocument, { jti, exp }: GrantClaims, nowSeconds: number): boolean {
  const taken = findTaken(list, jti);
  return taken !== undefined && (nowSeconds < (taken.until ?? 0) || nowSeconds >= exp);
}

/** The URL at which a grant's target is called; null for a grant that names no host. */
function originOf({ hosts: [host] }: GrantClaims): URL | null {
  return host === undefined ? null : new URL(`${isLoopback(host) ? 'http' : 'https'}://${host}`);
}

function isAboutToken(error: unknown): error is AmeshError {
  return isAmeshError(error) && /^(?:token_|own_key$|key_mismatch$)/.test(error.code);
}

function noListOfItsOwn(): AmeshError {
  return new AmeshError(
    BOOTSTRAP_CODES.token_wrong_type,
    'AMESH_BOOTSTRAP_TOKEN is for a machine with a list of its own, and this instance goes by the list of AMESH_OWNER_KEY.',
    { fix: 'Leave one of the two variables out.' },
  );
}

function wrongKind(kind: TokenKind): AmeshError {
  return kind === 'grant'
    ? new AmeshError(
        BOOTSTRAP_CODES.token_wrong_type,
        'The token is a grant, which is for a machine that calls: amesh.fetch takes it.',
        { fix: 'A machine that is called takes a token of: amesh provision' },
      )
    : new AmeshError(
        BOOTSTRAP_CODES.token_wrong_type,
        'The token is for a machine that is called: amesh.verify() takes it.',
        { fix: 'A machine that calls takes a token of: amesh grant' },
      );
}
