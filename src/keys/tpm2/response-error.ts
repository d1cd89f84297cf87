/** The codes that amesh distinguishes, without the number of the handle, parameter or session. */
export const RC = {
  failure: 0x101,
  initialize: 0x100,
  objectMemory: 0x902,
  sessionMemory: 0x903,
  memory: 0x904,
  yielded: 0x908,
  testing: 0x90a,
  nvRate: 0x920,
  lockout: 0x921,
  retry: 0x922,
  authFail: 0x08e,
  badAuth: 0x0a2,
} as const;

/** The TPM is busy: the same command may succeed a moment later. */
export const AGAIN: ReadonlySet<number> = new Set([RC.yielded, RC.testing, RC.nvRate, RC.retry]);

/** A format-one code: it is about a handle, a parameter or a session. */
const FORMAT_ONE = 0x80;
const ABOUT_PARAMETER = 0x40;
/** The number of a handle or parameter; with the highest bit, of a session. */
const NUMBER = 0xf00;

/** A TPM refused a command. */
export class ResponseError extends Error {
  /** The TPM_RC, without the number of the handle, parameter or session. */
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

  /** Whether it is about a parameter of the command, and not about a handle, a session or the state of the TPM. */
  get isAboutParameter(): boolean {
    if ((this.raw & FORMAT_ONE) === 0) return false;
    return (this.raw & ABOUT_PARAMETER) !== 0 || (this.raw & NUMBER) === 0; // some TPMs leave the number out
  }
}

/** @see TCG TPM 2.0 Library part 2, section 6.6, "TPM_RC (Response Codes)" */
function kindOf(raw: number): number {
  const isFormatOne = (raw & FORMAT_ONE) !== 0;
  return isFormatOne ? raw & 0xbf : raw & 0xfff;
}
