import type { CalledTarget } from '../../core/answers/asking';
import type { AllowList, AllowListSource } from '../../core/devices/allow-list';
import { fromBase64Url } from '../../core/encoding';
import { isAmeshError } from '../../core/errors/amesh-error';
import { requestOf } from '../../core/sign/sent-request';
import { normalizeAuthority } from '../../core/wire/authority';
import { addDevice } from '../../trust/changes';
import type { Device } from '../../trust/device';
import { keepToken } from '../../trust/tokens';
import type { GrantClaims } from '../tokens/token';
import { assertUsable, isRevokedIn, toTarget } from './grant-target';
import { enrolAt, isFor } from './request-enrolment';

/** A person has decided against the target of a grant. */
const OVER = /^(?:token_revoked|host_taken)$/;

/** The pause between two enrolments with one grant; it doubles each time, whatever the response. */
const PAUSE_MS = Object.freeze({ first: 1000, most: 60_000 });

export interface HeldGrantOptions {
  readonly claims: GrantClaims;
  /** Opens the machine that enrols, with its present key. */
  readonly device: () => Promise<Device>;
  /** Sends enrolments. */
  readonly fetch: typeof globalThis.fetch;
  /** Logs a line once. */
  readonly tell: (line: string) => void;
}

/**
 * A grant with which this machine has enrolled, according to a response that may not be proven. So the grant is kept while it is
 * valid, and used again if its target refuses this machine. Enrolling again with the same key does not use up another use of the
 * grant.
 */
export class HeldGrant {
  readonly #options: HeldGrantOptions;
  /** The hosts at which this process enrolled, until a list in memory knows more. */
  readonly #hosts = new Set<string>();
  /** An accepted enrolment that is not recorded yet. */
  #answered: { readonly url: URL; readonly untilSeconds: number } | undefined;
  #again: Promise<boolean> | undefined;
  #notBeforeMs = 0;
  #pauseMs: number = PAUSE_MS.first;

  constructor(options: HeldGrantOptions) {
    this.#options = options;
  }

  /**
   * The target behind a host at which this process enrolled, while the list in memory does not have it yet. As soon as the list
   * has a target at that host, or its tombstone, the list decides: a person may have revoked the target, or trusted another one.
   */
  targetOf(host: string, list: AllowList): CalledTarget | undefined {
    if (!this.#hosts.has(host)) return undefined;
    const { claims } = this.#options;
    if (list.targetOf(host) !== undefined || isRevokedIn(list, claims)) {
      this.#hosts.delete(host);
      return undefined;
    }
    const { iss, key, proves } = claims;
    return { deviceId: iss, publicKey: fromBase64Url(key) as Uint8Array, proves };
  }

  /** @throws AmeshError like `assertUsable()` and `enrolAt()` */
  async enrol(url: URL): Promise<void> {
    const { claims, device, fetch } = this.#options;
    const opened = await device();
    await assertUsable(await opened.trust.read(), claims, normalizeAuthority(url.host) as string);
    const untilSeconds = await enrolAt(url, claims, opened, fetch);
    this.#hosts.add(url.host);
    this.#answered = { url, untilSeconds };
  }

  /**
   * Enrols once more, because the target refused a signed request. It does so only so often, and once for all concurrent calls.
   *
   * @returns whether the target accepted the enrolment
   */
  async enrolAgain(url: URL): Promise<boolean> {
    const { claims, tell } = this.#options;
    if (!isFor(claims, url) || Date.now() >= claims.exp * 1000) return false;
    if (this.#again === undefined) {
      if (performance.now() < this.#notBeforeMs) return false;
      this.#notBeforeMs = performance.now() + this.#pauseMs;
      this.#pauseMs = Math.min(2 * this.#pauseMs, PAUSE_MS.most);
      this.#again = this.enrol(url)
        .then(
          () => true,
          (error) => {
            if (this.#stopsFor(error, url.host)) return false;
            const code = isAmeshError(error) ? error.code : 'enrolment_failed';
            // Another machine may be behind that host now. But an answer that is not proven changes nothing.
            if (code !== 'answer_unproven') this.#hosts.delete(url.host);
            tell(
              `${url.host} refused a request of this machine, and also its new enrolment (${code}): ${error.message}`,
            );
            return false;
          },
        )
        .finally(() => {
          this.#again = undefined;
        });
    }
    return this.#again;
  }

  /**
   * Records the enrolment once its target has accepted a signed request.
   *
   * @param list the list in memory, which is read again
   */
  async confirm(response: Response, list: AllowListSource): Promise<void> {
    const answered = this.#answered;
    if (answered === undefined || !response.ok) return;
    const { claims, device, tell } = this.#options;
    const { iss, jti, name } = claims;
    const { url, untilSeconds } = answered;
    const request = requestOf(response);
    if (request?.target === undefined || !isFor(claims, new URL(`${url.protocol}//${request.authority}`)))
      return;
    const nowSeconds = Math.floor(Date.now() / 1000);
    const token = {
      kind: 'taken',
      id: jti,
      issuer: iss,
      takenAt: nowSeconds,
      until: Math.max(nowSeconds, untilSeconds),
    } as const;
    let identity: Device['identity'];
    let others: readonly string[];
    try {
      const opened = await device();
      identity = opened.identity;
      const { result: added } = await opened.trust.update(async (draft) => {
        const addition = await toTarget(draft, claims, request);
        if (addition === null) return null;
        await addDevice(draft, addition.target, nowSeconds);
        keepToken(draft, token);
        return addition;
      });
      if (added === null) return;
      others = added.others;
    } catch (error) {
      if (this.#stopsFor(error, request.authority)) this.#answered = undefined;
      return; // the folder may be read-only, for example: the caller gets its response, and the next response tries again
    }
    if (this.#answered === answered) this.#answered = undefined;
    const { friendlyName, deviceId } = identity;
    const stays = others.map((host) => ` ${host} stays with another target of the list.`).join('');
    tell(
      `AMESH_BOOTSTRAP_TOKEN was taken: this machine, ${JSON.stringify(friendlyName)} (${deviceId}), may now call ${JSON.stringify(name)} (${iss}) at ${url.host}.${stays}`,
    );
    list.expire?.();
    try {
      this.targetOf(url.host, await list.current()); // from here on, the list decides
    } catch {
      // The next request reports it.
    }
  }

  /** Whether a person has decided against the target of the grant, or against it at one host. Then it logs that. */
  #stopsFor(error: unknown, host: string): boolean {
    if (!isAmeshError(error) || !OVER.test(error.code)) return false;
    if (error.code === 'token_revoked') {
      this.#answered = undefined;
      this.#hosts.clear();
    }
    this.#hosts.delete(host);
    this.#options.tell(
      `The grant in AMESH_BOOTSTRAP_TOKEN is no longer used for ${host}, ${error.code}: ${error.message}`,
    );
    return true;
  }
}
