import { hostname } from 'node:os';
import { AmeshError, isAmeshError } from '../core/errors/amesh-error';
import { isLoopback } from '../core/wire/authority';
import type { Env } from '../process/home';
import type { Device } from '../trust/device';
import type { DeviceEntry } from '../trust/format/entry';
import type { ListHead } from '../trust/format/head';
import { findTaken } from '../trust/tokens';
import { BOOTSTRAP_CODES } from './errors/codes';
import { assertNotRevokedIn } from './grants/grant-target';
import { HeldGrant } from './grants/held-grant';
import { isFor } from './grants/request-enrolment';
import { UnprovenPauses } from './grants/unproven-pauses';
import { registerAtRelay } from './provision/register-at-relay';
import { type Taker, takeProvisionToken } from './provision/take-provision';
import { nameFor } from './tokens/names';
import { assertTimely, kindOf, readToken } from './tokens/read-token';
import type { GrantClaims, ProvisionClaims, TokenKind } from './tokens/token';

/** The least time between two looks for whether the host of a grant is free: calls to the target that has it must not wait. */
const PAUSE_MS = 1000;

export interface BootstrapOptions extends Taker {
  readonly env: Env;
  /** Whether the instance reads the list of another owner (AMESH_OWNER_KEY). There, a provision token has no effect. */
  readonly isReader: boolean;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
  /** Sends enrolments. */
  readonly fetch: typeof globalThis.fetch;
}

/** A token from the environment. */
interface Token {
  readonly text: string;
  /** The kind that the token claims; null if it is not a token. */
  readonly kind: TokenKind | null;
  /** The claims of a grant that this machine is ready to use: it enrols when its target is called. */
  readonly readyFor?: GrantClaims;
}

/*
 * The states of the token of one instance:
 *
 *   none       a token is needed, and there is one         → pending
 *   pending    an instance takes it                        → taking
 *   taking     it was taken, or is wrong                   → settled
 *   taking     the machine failed, not the token           → pending: the next call tries again
 *   taking     a grant, but another host was called        → pending, ready for its target
 *   taking     a grant, but another target has its host    → pending: a later call looks again
 *   settled    the environment has another token           → pending
 */
type TokenState =
  | { readonly name: 'none' }
  /** A token was found in the environment, and is not settled yet. */
  | { readonly name: 'pending'; readonly token: Token }
  | { readonly name: 'taking'; readonly token: Token; readonly result: Promise<boolean> }
  /** The token was handled. Its text is kept, since it stays in an environment that we must not change. */
  | { readonly name: 'settled'; readonly text: string };

/**
 * The token in the environment of one instance. It is found when it is first needed, and taken once. If the machine failed, and not
 * the token, it is tried again.
 */
export class Bootstrap {
  readonly #options: BootstrapOptions;
  #state: TokenState = { name: 'none' };
  #taken: ProvisionClaims | undefined;
  #held: HeldGrant | undefined;
  /** Until when a host of a grant is not looked up again, because another target has it. By `performance.now()`. */
  readonly #takenUntilMs = new Map<string, number>();
  readonly #unproven: UnprovenPauses;

  constructor(options: BootstrapOptions) {
    this.#options = options;
    this.#unproven = new UnprovenPauses(options.tell);
  }

  /** Whether there is a token that is not settled yet. */
  get isPending(): boolean {
    return this.#pending !== undefined || this.#unseen() !== undefined;
  }

  /** The provision token that this process took, or that the machine had taken before. */
  get taken(): ProvisionClaims | undefined {
    return this.#taken;
  }

  /** A message if there is a grant for another target than the target that was called; undefined otherwise. */
  grantElsewhere(called: URL): string | undefined {
    const claims = this.#pending?.readyFor;
    if (claims === undefined || isFor(claims, called)) return undefined;
    const hosts = claims.hosts.join(', ') || 'localhost';
    return `The grant in AMESH_BOOTSTRAP_TOKEN is for ${hosts}. Another host was called, which refused the request, so the grant was not used.`;
  }

  /** The grant with which this machine enrolled, now or before. */
  get held(): HeldGrant | undefined {
    return this.#held;
  }

  /**
   * Takes a provision token, on a target.
   *
   * @returns whether it was taken now
   * @throws AmeshError with the reason, if the machine has no identity without the token, or no list of its own
   */
  async asTarget(): Promise<boolean> {
    const token = this.#find('provision');
    if (token === undefined) return false;
    if (this.#options.isReader) {
      if (token.kind === 'grant') return false; // fetch takes it
      this.#settle(token);
      throw noListOfItsOwn();
    }
    if (token.kind !== 'grant') return this.#take(token, () => this.#provision(token));
    await this.#assertIdentity(wrongKind('grant'));
    return false;
  }

  /**
   * Enrols a caller with a grant, once it calls the target of the grant.
   *
   * @param url the URL that is called; null to enrol at the target without a call
   * @returns whether it enrolled now
   * @throws AmeshError with the reason, if the machine has no identity without the token; like `enrolAt()`
   */
  async asCaller(url: URL | null): Promise<boolean> {
    for (;;) {
      const token = this.#find('grant');
      if (token === undefined) return false;
      if (url !== null && token.readyFor !== undefined && !isFor(token.readyFor, url)) return false;
      if (token.kind === 'provision') {
        if (this.#pending !== undefined) return this.asTarget(); // verify() of the same instance takes it
        await this.#assertIdentity(wrongKind('provision'));
        return false;
      }
      if (performance.now() < (this.#takenUntilMs.get(url?.host ?? '') ?? 0)) return false;
      if (this.#state.name !== 'taking') return this.#take(token, () => this.#enrol(token, url));
      await this.#state.result.catch(() => {}); // that enrolment may be for another URL, so check again
    }
  }

  /** Takes a token of either kind. */
  async take(): Promise<boolean> {
    const token = this.#pending ?? this.#unseen();
    return token?.kind === 'grant' ? this.asCaller(null) : this.asTarget();
  }

  /** The token that was found and is not settled yet. */
  get #pending(): Token | undefined {
    return this.#state.name === 'pending' || this.#state.name === 'taking' ? this.#state.token : undefined;
  }

  /** The token in the environment, unless it is settled. */
  #unseen(): Token | undefined {
    const text = this.#options.env.AMESH_BOOTSTRAP_TOKEN?.trim();
    if (!text || (this.#state.name === 'settled' && this.#state.text === text)) return undefined;
    return { text, kind: kindOf(text) };
  }

  /** Finds the token. It is removed from the environment if it is of the wanted kind, or of none. */
  #find(wanted: TokenKind): Token | undefined {
    if (this.#pending !== undefined) return this.#pending;
    const token = this.#unseen();
    if (token === undefined || (token.kind !== null && token.kind !== wanted)) return token;
    const { env } = this.#options;
    // So that child processes, and anything that prints the environment, do not see it.
    if (env === process.env) delete process.env.AMESH_BOOTSTRAP_TOKEN;
    this.#state = { name: 'pending', token };
    return token;
  }

  /** Takes a token once for all concurrent callers. */
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
      // The grant is good for another host, or once a person has revoked the target that has this one.
      if (error.code !== 'host_taken') this.#settle(token);
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
      `AMESH_BOOTSTRAP_TOKEN was taken: ${JSON.stringify(issuer.friendlyName)} (${claims.iss}) may now call this machine${scopesOf(issuer)}. Undo: amesh revoke ${claims.iss}`,
    );
    // In the background, since the issuer need not be online: without the relay, it learns this from the first response.
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
    // The device is opened each time: its key may be rotated while the grant is held.
    const hold = (device: Device) =>
      new HeldGrant({ claims, device: async () => (await open()) ?? device, fetch, tell });
    if (opened !== null) {
      const list = await opened.trust.read();
      if (nowSeconds < claims.exp) assertNotRevokedIn(list, claims); // after that, the grant brings nobody back
      if (isStillGood(list.head, claims, nowSeconds)) {
        this.#held = hold(opened);
        this.#settle(token);
        return false;
      }
    }
    assertTimely(read, nowSeconds); // before anything is written
    const device = opened ?? (await create(nameFor(claims.callers, hostname())));
    if (this.#state.name === 'taking')
      this.#state = { ...this.#state, token: { ...token, readyFor: claims } };
    const origin = url ?? originOf(claims);
    if (origin === null || !isFor(claims, origin)) return false;
    const held = hold(device);
    try {
      await this.#unproven.guard(origin.host, () => held.enrol(origin));
    } catch (error) {
      if (isAmeshError(error) && error.code === 'host_taken')
        this.#takenUntilMs.set(url?.host ?? '', performance.now() + PAUSE_MS);
      throw error;
    }
    this.#held = held;
    this.#settle(token);
    return true;
  }

  #settle({ text }: Token): void {
    this.#state = { name: 'settled', text };
  }

  /**
   * A machine with an identity does not need the token, and a wrong token must not lock out the devices that it knows.
   *
   * @throws the error, if there is no identity
   */
  async #assertIdentity(error: AmeshError): Promise<void> {
    if ((await this.#options.open()) === null) throw error;
  }
}

/** Whether a taken grant needs no new enrolment: the enrolment still lasts, or the grant has expired and cannot be used again. */
function isStillGood(list: ListHead, { jti, exp }: GrantClaims, nowSeconds: number): boolean {
  const taken = findTaken(list, jti);
  return taken !== undefined && (nowSeconds < (taken.until ?? 0) || nowSeconds >= exp);
}

function scopesOf({ scopes = [] }: DeviceEntry): string {
  return scopes.length === 0 ? '' : `, with the scopes ${scopes.join(', ')}`;
}

/** The URL of a grant's target; null for a grant without hosts. */
function originOf({ hosts: [host] }: GrantClaims): URL | null {
  return host === undefined ? null : new URL(`${isLoopback(host) ? 'http' : 'https'}://${host}`);
}

function isAboutToken(error: unknown): error is AmeshError {
  return isAmeshError(error) && /^(?:token_|own_key$|key_mismatch$|host_taken$)/.test(error.code);
}

function noListOfItsOwn(): AmeshError {
  return new AmeshError(
    BOOTSTRAP_CODES.token_wrong_type,
    'AMESH_BOOTSTRAP_TOKEN is for a machine with its own list, but this instance uses the list of AMESH_OWNER_KEY.',
    { fix: 'Remove one of the two variables.' },
  );
}

function wrongKind(kind: TokenKind): AmeshError {
  return kind === 'grant'
    ? new AmeshError(
        BOOTSTRAP_CODES.token_wrong_type,
        'The token is a grant, which is for a machine that sends requests: amesh.fetch takes it.',
        { fix: 'A machine that receives requests takes a token of: amesh provision' },
      )
    : new AmeshError(
        BOOTSTRAP_CODES.token_wrong_type,
        'The token is for a machine that receives requests: amesh.verify() takes it.',
        { fix: 'A machine that sends requests takes a token of: amesh grant' },
      );
}
