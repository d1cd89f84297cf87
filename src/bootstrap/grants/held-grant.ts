import { isAmeshError } from '../../core/errors/amesh-error';
import { answeredBy } from '../../core/sign/answered';
import type { Device } from '../../trust/device';
import { withToken } from '../../trust/tokens';
import type { GrantClaims } from '../tokens/token';
import { enrolAt, isFor, withTarget } from './request-enrolment';

/** How long to wait between two enrolments by one grant: twice as long each time, whatever the answers are. */
const PAUSE_MS = Object.freeze({ first: 1000, most: 60_000 });

export interface HeldGrantOptions {
  readonly claims: GrantClaims;
  /** The machine that enrols. */
  readonly device: Device;
  /** Sends enrolments. */
  readonly fetch: typeof globalThis.fetch;
  /** Says a line once. */
  readonly tell: (line: string) => void;
}

/**
 * A grant by which this machine has enrolled, as far as an answer that nothing proves can show. So the grant is kept for
 * as long as it counts, and used again where its target refuses this machine. Enrolling again with the same key takes no
 * second use of a grant.
 */
export class HeldGrant {
  readonly #options: HeldGrantOptions;
  readonly #hosts = new Set<string>();
  /** An enrolment that was answered with yes, and is not written down yet. */
  #answered: { readonly url: URL; readonly untilSeconds: number } | undefined;
  #again: Promise<boolean> | undefined;
  #notBeforeMs = 0;
  #pauseMs: number = PAUSE_MS.first;

  constructor(options: HeldGrantOptions) {
    this.#options = options;
  }

  /** The deviceId of the target, for a host at which this process has enrolled; the list in memory may not know it yet. */
  targetOf(host: string): string | undefined {
    return this.#hosts.has(host) ? this.#options.claims.iss : undefined;
  }

  /** @throws AmeshError as `enrolAt()` */
  async enrol(url: URL): Promise<void> {
    const { claims, device, fetch } = this.#options;
    const untilSeconds = await enrolAt(url, claims, device, fetch);
    this.#hosts.add(url.host);
    this.#answered = { url, untilSeconds };
  }

  /**
   * Enrols once more, since the target has refused a signed request. At most once in a while, and once for all calls at
   * the same time.
   *
   * @returns whether it was answered with yes
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
            this.#hosts.delete(url.host); // perhaps another machine is called there
            const code = isAmeshError(error) ? error.code : 'enrolment_failed';
            tell(
              `${url.host} has refused this machine, and its new enrolment, too (${code}): ${error.message}`,
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

  /** Writes the enrolment down once its target has let a signed request in. */
  async confirm(response: Response): Promise<void> {
    const answered = this.#answered;
    if (answered === undefined || !response.ok) return;
    const { claims, device, tell } = this.#options;
    const { iss, jti, name } = claims;
    const { url, untilSeconds } = answered;
    const request = answeredBy(response);
    if (request?.target !== iss || !isFor(claims, new URL(`${url.protocol}//${request.authority}`))) return;
    const nowSeconds = Math.floor(Date.now() / 1000);
    const token = {
      kind: 'taken',
      id: jti,
      issuer: iss,
      takenAt: nowSeconds,
      until: Math.max(nowSeconds, untilSeconds),
    } as const;
    try {
      await device.trust.update((list) =>
        withToken(withTarget(list, claims, request.authority, nowSeconds), token),
      );
    } catch {
      return; // a folder that cannot be written, say. The response is what was asked for, and the next one tries again.
    }
    if (this.#answered === answered) this.#answered = undefined;
    const { friendlyName, deviceId } = device.identity;
    tell(
      `AMESH_BOOTSTRAP_TOKEN was taken: this machine, ${JSON.stringify(friendlyName)} (${deviceId}), may now call ${JSON.stringify(name)} (${iss}) at ${url.host}.`,
    );
  }
}
