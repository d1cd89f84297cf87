import type { AmeshCode } from '@authmesh/sdk/core';
import type { CommandCode } from '../errors/codes';

/** A response of the proxy itself, instead of the server behind it. */
export class ProxyFault extends Error {
  override readonly name = 'ProxyFault';

  /**
   * @param status the status of the response
   * @param code the code in the body of the response, `{"error":"<code>"}`, and in the log
   * @param message one sentence for the log
   */
  constructor(
    readonly status: number,
    readonly code: CommandCode | AmeshCode,
    message: string,
  ) {
    super(message);
  }
}
