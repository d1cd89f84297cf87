import { hintFor } from '#hints';
import type { RefusalCode } from '../errors/code-names';
import { writeFix } from '../errors/define-codes';
import { Fault } from '../errors/fault';
import { requiredComponents } from '../wire/base';
import type { Credentials } from '../wire/credentials';
import type { RequestLine } from '../wire/line';
import type { RequestView } from '../wire/view';

/** Why a request was refused: for the log and for `onRefusal`, never for the client. */
export interface Refusal {
  /** The precise reason. */
  readonly code: RefusalCode;
  /** The HTTP status the client gets. */
  readonly status: number;
  /** The cause, in one sentence. */
  readonly detail: string;
  /** What to do about it. It ends with the command, if there is one. */
  readonly fix: string;
  /** The command to type on this machine, an argument a word, where that is the fix: `['amesh', 'list']`. */
  readonly command?: readonly string[] | undefined;
  /** What the request was, as this server saw it. Strings of a stranger: escape them where they are shown. */
  readonly request: {
    /** As sent. */
    readonly method: string;
    /** `host[:port]`, in normal form where it has one. */
    readonly authority: string;
    /** Path and query. */
    readonly target: string;
    /** The id that the request claims; proven only from check 7 on. */
    readonly deviceId?: string | undefined;
    /** The covered components, where the signature did not match. */
    readonly covered?: readonly string[] | undefined;
  };
  /** What was thrown, where a store failed. */
  readonly cause?: unknown;
}

/**
 * A fault with what is known of its request.
 *
 * @param credentials undefined where they were not reached
 * @param line undefined where it was not reached
 * @param cause what was thrown, undefined where nothing was
 * @param nowMs Unix milliseconds
 */
export function toRefusal(
  fault: Fault,
  view: RequestView,
  credentials: Credentials | Fault | undefined,
  line: RequestLine | Fault | undefined,
  cause: unknown,
  nowMs: number,
): Refusal {
  const { facts } = fault;
  const claimed = credentials instanceof Fault ? undefined : credentials;
  const hint = hintFor(fault, nowMs, claimed, view);
  const advice = fault.advice ?? (hint.fix === undefined ? facts : { fix: hint.fix });
  const read = line instanceof Fault ? undefined : line;
  const hasCovered = fault.code === 'invalid_signature' && claimed !== undefined;
  return {
    code: fault.code,
    status: facts.status,
    detail: hint.detail ?? fault.detail ?? facts.cause,
    fix: writeFix(advice),
    command: advice.command,
    request: {
      method: String(view.method),
      authority: read?.authority ?? String(view.authority),
      target: read === undefined ? String(view.target) : read.path + (read.query === '?' ? '' : read.query),
      deviceId: claimed?.deviceId,
      covered: hasCovered ? (claimed.covered ?? requiredComponents(view.headers, claimed.form)) : undefined,
    },
    ...(cause === undefined ? {} : { cause }),
  };
}
