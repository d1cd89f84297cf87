import { Readable } from 'node:stream';
import { type Answers, createAmesh, type HeardAnswer, type RequestToSign } from '@authmesh/sdk';
import type { ClientRefusal } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { valuesOf } from '../command-line/arguments';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { cutOff, unsendable } from '../curl/failures';
import { writeWhole } from '../curl/output-file';
import { toRequest } from '../curl/request';
import { headerLines, meaningOf, requestLines, type Sent, statusLine } from '../curl/words';
import { noAnswer } from '../doctor/no-answer';
import { asLate } from '../errors/changes';
import { CommandError } from '../errors/errors';
import { EXIT, type ExitCode } from '../errors/exit-codes';
import { asUsage } from '../machine/as-usage';
import { SUMMARIES } from './summaries';

export const curl = defineCommand({
  meta: {
    name: 'curl',
    description: SUMMARIES.curl,
  },
  args: {
    url: { type: 'positional', required: true, description: 'Such as https://api.example.com/orders' },
    request: {
      type: 'string',
      alias: 'X',
      valueHint: 'method',
      description: 'The method; default GET, with -d POST',
    },
    header: {
      type: 'string',
      alias: 'H',
      valueHint: 'line...',
      description: 'A header, such as "Content-Type: application/json"; may be given several times',
    },
    data: {
      type: 'string',
      alias: 'd',
      valueHint: 'data...',
      description:
        'The body, or @file or @- (stdin) for its bytes, unchanged. Several are joined by &. Without a Content-Type it is sent as a form',
    },
    include: { type: 'boolean', alias: 'i', description: 'Print status and headers before the body' },
    output: { type: 'string', alias: 'o', valueHint: 'file', description: 'Write the body to a file' },
    verbose: {
      type: 'boolean',
      alias: 'v',
      description: 'Print the request, the text that is signed, and the head of the response on stderr',
    },
    answers: {
      type: 'enum',
      options: ['auto', 'required', 'off'],
      description: 'Which responses have to be proven; default auto: those over plain http',
    },
    ...SHARED_ARGS,
    version: { type: 'boolean', description: 'Print the version' },
  },

  async run({ args, rawArgs, cmd }): Promise<Result> {
    const request = await toRequest({
      url: args.url,
      method: args.request,
      headers: valuesOf({ rawArgs, cmd }, 'header'),
      data: valuesOf({ rawArgs, cmd }, 'data'),
    });
    const answers = (args.answers ?? 'auto') as Answers;
    const { sent, response, refusal } = await call(request, answers);
    const isShown = args.include === true;
    const seen = headerLines(response);
    const head = isShown ? [statusLine(response), ...seen, ''] : [];
    const first = args.verbose
      ? [...requestLines(sent), ...[statusLine(response), ...seen].map((line) => `< ${line}`)]
      : [];
    const result = {
      first,
      notes: meaningOf(response, refusal),
      exitCode: exitCodeOf(response, refusal),
    };
    const json = {
      url: sent.url,
      status: response.status,
      headers: headersOf(response),
      base: sent.base,
    };
    const why =
      refusal === undefined ? {} : { code: refusal.code, message: refusal.detail, hint: refusal.fix };
    const body = proven(response);
    if (args.output !== undefined) {
      await writeWhole(args.output, body).catch((error) => {
        throw 'syscall' in error ? unwritten(response, error) : error;
      });
      return { ...result, data: head, json: { ...json, output: args.output, ...why } };
    }
    return { ...result, data: head, stream: body, json: { ...json, ...why } };
  },
});

/** The headers by name. Only cookies cannot be joined by commas, so they are a list. */
function headersOf({ headers }: Response): Record<string, string | string[]> {
  const cookies = headers.getSetCookie();
  return { ...Object.fromEntries(headers), ...(cookies.length > 0 && { 'set-cookie': cookies }) };
}

interface Called extends Pick<HeardAnswer, 'response'> {
  readonly sent: Sent;
  readonly refusal: ClientRefusal | undefined;
}

/** Sends a request, and once more if that helps, as `amesh.fetch` does. */
async function call(request: RequestToSign & { url: URL }, answers: Answers): Promise<Called> {
  let refusal: ClientRefusal | undefined;
  const amesh = createAmesh({
    onRefusal: (told) => {
      refusal = told as ClientRefusal;
    },
  });
  for (let isLast = false; ; isLast = true) {
    refusal = undefined;
    const signed = await asUsage(amesh.sign(request, { answers })).catch((error) =>
      notSigned(request.url, error),
    );
    const { url, method, headers, body } = signed;
    const answer = await fetch(url, {
      method,
      headers: headers as [string, string][],
      body,
      redirect: 'manual',
    }).catch((error) => notAnswered(request.url, error));
    const { response, again } = await signed.answered(answer).catch((error) => {
      throw asLate(error); // the request was sent
    });
    if (again && !isLast) await response.body?.cancel();
    else return { sent: signed, response, refusal };
  }
}

/** Throws the error for a request to which nobody has responded. */
async function notAnswered(url: URL, error: unknown): Promise<never> {
  const refused = unsendable(url, error);
  if (refused !== null) throw refused;
  const { message, fix } = await noAnswer(url, url.origin, error);
  throw new CommandError('no_answer', message, fix ?? '', { isUnchanged: false });
}

/** Throws the error of a signature. An enrolment comes before it, to which nobody may have responded. */
async function notSigned(url: URL, error: unknown): Promise<never> {
  if (error instanceof TypeError && error.cause !== undefined) await notAnswered(url, error);
  throw error;
}

/** The body, piece by piece. It fails if it is not the body that the target has proven. */
async function* proven({ body }: Response): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  try {
    yield* Readable.fromWeb(body as never);
  } catch (error) {
    cutOff(error);
  }
}

/** The error if the file of -o cannot be written. */
function unwritten({ status }: Response, { message }: Error): CommandError {
  return new CommandError(
    'file_system_error',
    `The target responded with ${status}, but the response cannot be written to the file of -o: ${message}.`,
    'Check the path. The request was carried out, so sending it again may repeat its effect.',
    { isUnchanged: false },
  );
}

function exitCodeOf({ status }: Response, refusal: ClientRefusal | undefined): ExitCode {
  if (refusal !== undefined) return EXIT.no;
  return status < 400 ? EXIT.ok : EXIT.failure;
}
