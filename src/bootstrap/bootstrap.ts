import { hostname } from 'node:os';
import { AmeshError, isAmeshError } from '../core/errors/amesh-error';
import { isLoopback } from '../core/wire/authority';
import type { Env } from '../process/home';
import type { Device } from '../trust/device';
import { findTaken } from '../trust/tokens';
import { isFor } from './grants/enrol';
import { HeldGrant } from './grants/held-grant';
import { UNASKED, writeRegistration } from './provision/registration';
import { type Taker, takeProvisionToken } from './provision/take-provision';
import { nameFor } from './tokens/names';
import { assertTimely, kindOf, readToken } from './tokens/read-token';
import type { GrantClaims, ProvisionClaims, TokenKind } from './tokens/token';

export interface BootstrapOptions extends Taker {
  readonly env: Env;
  /** Goes by the list of another key (AMESH_OWNER_KEY), so nothing that this machine takes would count when it is called. */
  readonly isReader: boolean;
  /** Says a line once. */
  readonly tell: (line: string) => void;
  /** Sends enrolments. */
  readonly fetch: typeof globalThis.fetch;
}

/** A token out of the environment. */
interface Found {
  readonly text: string;
  /** What it says it is. */
  readonly kind: TokenKind | null;
}

/**
 * The token in the environment of one instance: found when it is first needed, taken once, and tried again where the
 * machine and not the token is what failed.
 */
export class Bootstrap {
  readonly #options: BootstrapOptions;
  /** Out of the environment, and not yet done with. */
  #inHand: Found | undefined;
  /** What needs no second look, where an environment is not ours to change. */
  #doneWith: string | undefined;
  #taking: Promise<boolean> | undefined;
  #taken: ProvisionClaims | undefined;
  /** The grant in hand, where this machine is ready for it and its target was not called yet. */
  #grant: GrantClaims | undefined;
  #held: HeldGrant | undefined;

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

  /** That there is a grant for another target than the one that was called; undefined where there is none. */
  get grantElsewhere(): string | undefined {
    if (this.#grant === undefined) return undefined;
    const hosts = this.#grant.hosts.join(', ') || 'localhost';
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
    const found = this.#look('provision');
    if (found === undefined) return false;
    if (this.#options.isReader) {
      if (found.kind === 'grant') return false; // for fetch
      this.#settle(found.text);
      throw noListOfItsOwn();
    }
    if (found.kind === 'grant') return this.#unlessSettled(wrongKind('grant'), () => {});
    return this.#once(found, () => this.#provision(found.text));
  }

  /**
   * Enrols a machine that calls by a grant, once the grant's target is called.
   *
   * @param url what is called; null for the target itself, wherever that is
   * @returns whether it has enrolled now
   * @throws AmeshError saying what is wrong with it, where the machine has no identity without it; as `enrolAt()`
   */
  async asCaller(url: URL | null): Promise<boolean> {
    const isElsewhere = url !== null && this.#grant !== undefined && !isFor(this.#grant, url);
    const found = this.#look('grant');
    if (found === undefined || isElsewhere) return false;
    if (found.kind !== 'provision') {
      if (this.#taking === undefined) return this.#once(found, () => this.#enrol(found.text, url));
      await this.#taking.catch(() => {}); // perhaps for another URL
      return this.asCaller(url);
    }
    if (this.#inHand === found) return this.asTarget(); // verify() of the same instance has it
    return this.#unlessSettled(wrongKind('provision'), () => {});
  }

  /** Takes a token of either kind. */
  async take(): Promise<boolean> {
    const { env } = this.#options;
    const kind = (this.#inHand ?? { kind: kindOf(env.AMESH_BOOTSTRAP_TOKEN?.trim() ?? '') }).kind;
    return kind === 'grant' ? this.asCaller(null) : this.asTarget();
  }

  get #text(): string | undefined {
    return this.#options.env.AMESH_BOOTSTRAP_TOKEN?.trim();
  }

  /** What is in hand, or in the environment; from there only what is wanted is taken, and what nobody could want. */
  #look(wanted: TokenKind): Found | undefined {
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

  #once(found: Found, take: () => Promise<boolean>): Promise<boolean> {
    this.#taking ??= take()
      .catch((error) => {
        if (!isAboutToken(error)) throw error;
        return this.#unlessSettled(error, () => {
          this.#settle(found.text);
          this.#options.tell(`AMESH_BOOTSTRAP_TOKEN was not taken, ${error.code}: ${error.message}`);
        });
      })
      .finally(() => {
        this.#taking = undefined;
      });
    return this.#taking;
  }

  async #provision(text: string): Promise<boolean> {
    const token = await readToken(text);
    if (token.kind !== 'provision') throw wrongKind(token.kind);
    const { claims } = token;
    const issuer = await takeProvisionToken(claims, this.#options);
    this.#taken = claims;
    this.#settle(text);
    if (issuer === null) return false;
    this.#options.tell(
      `AMESH_BOOTSTRAP_TOKEN was taken: ${JSON.stringify(issuer)} (${claims.iss}) may now call this machine. Undo: amesh revoke ${claims.iss}`,
    );
    // Nobody waits for it: the issuer need not be there, and hears of it with the first answer otherwise.
    if (claims.relay !== undefined) this.#register(claims, claims.relay).catch(() => {});
    return true;
  }

  async #register(claims: ProvisionClaims, relay: string): Promise<void> {
    const device = await this.#options.open();
    if (device === null) return;
    const { hosts } = await device.trust.read();
    const machine = { signer: device.signer, name: device.identity.friendlyName, hosts };
    const { postRegistration } = await import('./provision/mailbox');
    await postRegistration(relay, claims.secret, await writeRegistration(claims, machine, UNASKED));
  }

  async #enrol(text: string, url: URL | null): Promise<boolean> {
    const { open, create, fetch, tell } = this.#options;
    const token = await readToken(text);
    if (token.kind !== 'grant') throw wrongKind(token.kind);
    const { claims } = token;
    const now = Math.floor(Date.now() / 1000);
    const opened = await open();
    const taken = opened === null ? undefined : findTaken(await opened.trust.read(), claims.jti);
    const hold = (device: Device) => new HeldGrant({ claims, device, fetch, tell });
    // As long as it lasts, or can no longer be taken anew, it is as good as the list of the target says.
    if (opened !== null && taken !== undefined && (now < (taken.until ?? 0) || now >= claims.exp)) {
      this.#held = hold(opened);
      this.#settle(text);
      return false;
    }
    assertTimely(token, now); // before anything is written
    const device = opened ?? (await create(nameFor(claims.callers, hostname())));
    this.#grant = claims;
    const origin = url ?? originOf(claims);
    if (origin === null || !isFor(claims, origin)) return false;
    const held = hold(device);
    await held.enrol(origin);
    this.#held = held;
    this.#settle(text);
    return true;
  }

  #settle(text: string): void {
    this.#doneWith = text;
    this.#inHand = undefined;
    this.#grant = undefined;
  }

  /** A machine that has an identity does not need the token: those it knows must not be shut out by a wrong one. */
  async #unlessSettled(error: AmeshError, settle: () => void): Promise<false> {
    if ((await this.#options.open()) === null) throw error;
    settle();
    return false;
  }
}

/** Where a target is called that a grant names, as far as that can be told. */
function originOf({ hosts: [host] }: GrantClaims): URL | null {
  return host === undefined ? null : new URL(`${isLoopback(host) ? 'http' : 'https'}://${host}`);
}

function isAboutToken(error: unknown): error is AmeshError {
  return isAmeshError(error) && /^(?:token_|own_key$|key_mismatch$)/.test(error.code);
}

function noListOfItsOwn(): AmeshError {
  return new AmeshError(
    'token_wrong_type',
    'AMESH_BOOTSTRAP_TOKEN is for a machine with a list of its own, and this instance goes by the list of AMESH_OWNER_KEY.',
    { fix: 'Leave one of the two variables out.' },
  );
}

function wrongKind(kind: TokenKind): AmeshError {
  return kind === 'grant'
    ? new AmeshError(
        'token_wrong_type',
        'The token is a grant, which is for a machine that calls: amesh.fetch takes it.',
        { fix: 'A machine that is called takes a token of: amesh provision' },
      )
    : new AmeshError(
        'token_wrong_type',
        'The token is for a machine that is called: amesh.verify() takes it.',
        { fix: 'A machine that calls takes a token of: amesh grant' },
      );
}
