import { setTimeout as sleep } from 'node:timers/promises';
import { wipe } from '../secrets/secret-bytes';
import { join, u16, u32 } from '../slow/bytes';
import { Reader, sized, u8 } from './bytes';
import type { TpmConnection } from './connection';
import { AGAIN, ResponseError } from './response-error';

const NO_SESSIONS = 0x8001;
const SESSIONS = 0x8002;
const HEADER_BYTES = 10;

/** The session that carries a password, which exists in every TPM without being started. */
const PASSWORD_SESSION = 0x4000_0009;

const SUCCESS = 0;
/** How long to wait before each further attempt, in milliseconds: 5 s in all, as Linux does with TPM_RC_RETRY. */
const PAUSES_MS = [20, 40, 80, 160, 320, 640, 1280, 2560] as const;

/** A command of TPM 2.0. */
export interface Command {
  /** Its TPM_CC. */
  readonly code: number;
  readonly handles?: readonly number[];
  /** The password for the first handle; absent if the command needs no authorization. */
  readonly password?: Uint8Array | undefined;
  /** The parameters, marshalled. */
  readonly parameters?: readonly Uint8Array[];
  /** Whether the response begins with a handle. */
  readonly givesHandle?: boolean;
}

/** The answer to a command that succeeded. */
export interface Response {
  /** 0 if the command gives none. */
  readonly handle: number;
  readonly parameters: Reader;
}

/**
 * Runs a command, and again if the TPM is too busy for it.
 *
 * @param pausesMs how long to wait before each further attempt
 * @throws ResponseError for a response code; what the connection throws
 * @see TCG TPM 2.0 Library part 1, section 18, "Command/Response Structure"
 */
export async function run(
  tpm: TpmConnection,
  command: Command,
  pausesMs: readonly number[] = PAUSES_MS,
): Promise<Response> {
  const { code, body } = await exchange(tpm, encode(command), pausesMs);
  if (code !== SUCCESS) throw new ResponseError(code, command.code);
  const reader = new Reader(body);
  const handle = command.givesHandle ? reader.u32() : 0;
  if (command.password === undefined) return { handle, parameters: reader };
  return { handle, parameters: new Reader(reader.take(reader.u32())) };
}

async function exchange(tpm: TpmConnection, bytes: Uint8Array, pausesMs: readonly number[]) {
  try {
    let answer = decode(await tpm.send(bytes));
    for (const pauseMs of pausesMs) {
      if (!AGAIN.has(answer.code)) break;
      await sleep(pauseMs);
      answer = decode(await tpm.send(bytes));
    }
    return answer;
  } finally {
    wipe(bytes); // it may contain a PIN
  }
}

function encode({ code, handles = [], password, parameters = [] }: Command): Uint8Array {
  // No part is copied here: a copy of a password would stay in memory.
  const authorization =
    password === undefined
      ? []
      : [u32(AUTHORIZATION_BYTES + password.length), ...emptySession(), u16(password.length), password];
  const body = [...handles.map(u32), ...authorization, ...parameters];
  const length = body.reduce((sum, part) => sum + part.length, HEADER_BYTES);
  const tag = password === undefined ? NO_SESSIONS : SESSIONS;
  return join(u16(tag), u32(length), u32(code), ...body);
}

/** The length of an authorization without its password. */
const AUTHORIZATION_BYTES = 9;

/** The session of a password, without a nonce and attributes. */
function emptySession(): readonly Uint8Array[] {
  return [u32(PASSWORD_SESSION), sized(new Uint8Array()), u8(0)];
}

function decode(response: Uint8Array): { code: number; body: Uint8Array } {
  const reader = new Reader(response);
  reader.u16(); // the tag: in an error it is the tag without sessions, whatever the command had
  const length = reader.u32();
  if (length !== response.length)
    throw new RangeError('The TPM responded with another length than it names.');
  return { code: reader.u32(), body: reader.take(length - HEADER_BYTES) };
}
