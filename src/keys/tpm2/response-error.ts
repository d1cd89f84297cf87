/** Codes that amesh tells apart, without the number of the handle, parameter or session that they are about. */
export const RC = {
  failure: 0x101,
  initialize: 0x100,
  exclusive: 0x121,
  objectMemory: 0x902,
  sessionMemory: 0x903,
  memory: 0x904,
  lockout: 0x921,
  nvRate: 0x920,
  authFail: 0x08e,
  badAuth: 0x0a2,
  integrity: 0x09f,
  hierarchy: 0x085,
  handle: 0x08b,
  curve: 0x0a6,
  scheme: 0x092,
} as const;

/** A TPM refused a command. */
export class ResponseError extends Error {
  /** The TPM_RC, without the number of the handle, parameter or session that it is about. */
  readonly code: number;

  /**
   * @param raw the TPM_RC
   * @param command the TPM_CC of the command
   */
  constructor(
    readonly raw: number,
    readonly command: number,
  ) {
    super(`The TPM responded with the code 0x${raw.toString(16)}.`);
    this.name = 'ResponseError';
    this.code = kindOf(raw);
  }
}

/** @see TCG TPM 2.0 Library part 2, section 6.6, "TPM_RC (Response Codes)" */
function kindOf(raw: number): number {
  const isFormatOne = (raw & 0x80) !== 0;
  return isFormatOne ? raw & 0xbf : raw & 0xfff;
}
