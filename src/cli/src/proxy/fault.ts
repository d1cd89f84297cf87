import type { AmeshCode } from '@authmesh/sdk/core';
import type { CommandCode } from '../errors/codes';

/** A response of the proxy itself, instead of the server behind it. */
export class ProxyFault extends Error {
  override readonly name = 'ProxyFault';

  /**
   * @param status of the answer
   * @param code in the body of the answer, `{"error":"<code>"}`, and in the log
   * @param message for the log: one sentence
   */
  constructor(
    readonly status: number,
    readonly code: CommandCode | AmeshCode,
    message: string,
  ) {
    super(message);
  }
}
