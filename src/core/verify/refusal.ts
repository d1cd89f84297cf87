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
  /** The HTTP status that the client gets. */
  readonly status: number;
  /** The cause: one sentence. */
  readonly detail: string;
  /** What to do about it, ending with the command if there is one. */
  readonly fix: string;
  /** The command to type on this machine, if there is one, as an array of arguments: `['amesh', 'list']`. */
  readonly command?: readonly string[] | undefined;
  /** Only for `scope_missing`: the scope. */
  readonly scope?: string | undefined;
  /** The request, as this server saw it. These are strings from a stranger: escape them where you show them. */
  readonly request: {
    /** As sent. */
    readonly method: string;
    /** `host[:port]`, in normal form if it is valid. */
    readonly authority: string;
    /** Path and query. */
    readonly target: string;
    /** The device ID that the request claims; proven only after check 7. */
    readonly deviceId?: string | undefined;
    /** The covered components, if the signature did not match. */
    readonly covered?: readonly string[] | undefined;
  };
  /** The error, if a store failed. */
  readonly cause?: unknown;
}

/**
 * A fault with the data of its request.
 *
 * @param credentials undefined if the fault came before them
 * @param line undefined if the fault came before it
 * @param cause the thrown error, or undefined
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
    scope: facts.scope,
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
