/** How much of a relay one stranger may use, and all strangers together. */
export interface Limits {
  /** Bytes of a message's body as UTF-8; default 8 KiB. */
  readonly messageBytes: number;
  /** Messages that one side of a session may send; default 32. */
  readonly messagesPerDirection: number;
  /** Bytes of all bodies that one side of a session may send; default 64 KiB. */
  readonly bytesPerDirection: number;
  /** Milliseconds within which a new socket must send its first frame; default 5 s. */
  readonly firstMessageMs: number;
  /** Milliseconds within which a code must be used; default 60 s. */
  readonly codeMs: number;
  /** Milliseconds from the join to the end of a session, and from the start to the end of a mailbox; default 300 s. */
  readonly sessionMs: number;
  /** Milliseconds before a code may be issued again; default 10 minutes. */
  readonly codeRestMs: number;
  /** Open sockets of one address; default 20. It may have twice as many connections that are not sockets yet. */
  readonly socketsPerAddress: number;
  /** Codes and mailboxes that one address may open in a minute; default 10. An IPv6 /56 has 4 times that, a /48 16 times. */
  readonly listensPerMinute: number;
  /** Wrong or used codes that one address may try in a minute; default 10. An IPv6 /56 has 4 times that, a /48 16 times. */
  readonly failedJoinsPerMinute: number;
  /** Open sockets in all; default 10,000. */
  readonly sockets: number;
  /** Bytes that all sockets together may hold in incomplete or unread messages; default 64 MiB. */
  readonly socketBytes: number;
  /** Waiting codes and sessions in all; default 5,000. Mailboxes do not count. */
  readonly sessions: number;
  /** Mailboxes in all; default 5,000. Codes and sessions do not count. */
  readonly mailboxes: number;
  /** Bytes of all messages in mailboxes; default 16 MiB. */
  readonly mailboxBytes: number;
  /** Mailboxes of one address; default 32. */
  readonly mailboxesPerAddress: number;
  /** Bytes of the messages of one address in mailboxes; default 64 KiB. */
  readonly mailboxBytesPerAddress: number;
}

export const DEFAULT_LIMITS: Limits = Object.freeze({
  messageBytes: 8 * 1024,
  messagesPerDirection: 32,
  bytesPerDirection: 64 * 1024,
  firstMessageMs: 5_000,
  codeMs: 60_000,
  sessionMs: 300_000,
  codeRestMs: 600_000,
  socketsPerAddress: 20,
  listensPerMinute: 10,
  failedJoinsPerMinute: 10,
  sockets: 10_000,
  socketBytes: 64 * 1024 * 1024,
  sessions: 5_000,
  mailboxes: 5_000,
  mailboxBytes: 16 * 1024 * 1024,
  mailboxesPerAddress: 32,
  mailboxBytesPerAddress: 64 * 1024,
});

/**
 * Rejects a promise, a Map or an array: none of them has option names, so each would pass as an object without any options.
 *
 * @throws TypeError
 */
export function assertObject(where: string, options: object): void {
  const isObject = typeof options === 'object' && options !== null;
  if (!isObject || Symbol.iterator in options || 'then' in options)
    throw new TypeError(`${where} takes an options object.`);
}

/** @throws TypeError for a name that is not a limit, or a value that is not a whole number from 1 to 1e9 */
export function readLimits(options: Partial<Limits> = {}): Limits {
  assertObject('limits', options);
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name)) throw new TypeError(`Unknown limit "${name}".`);
    if (!Number.isInteger(value) || value < 1 || value > 1e9) {
      throw new TypeError(`${name} must be a whole number from 1 to 1,000,000,000.`);
    }
  }
  return Object.freeze({ ...DEFAULT_LIMITS, ...options });
}

/**
 * Reads `AMESH_RELAY_LIMITS`: names of {@link Limits} with numbers, such as `sessions=500, mailboxes=200`.
 *
 * @throws TypeError for anything else
 */
export function parseLimits(text: string | undefined): Partial<Limits> {
  const limits: Record<string, number> = {};
  for (const part of text === undefined || text === '' ? [] : text.split(',')) {
    const [, name, number] = /^\s*([A-Za-z]+)=(\d{1,10})\s*$/.exec(part) ?? [];
    if (name === undefined) {
      throw new TypeError(
        'AMESH_RELAY_LIMITS: write name=number, separated by commas, such as sessions=500,mailboxes=200.',
      );
    }
    if (Object.hasOwn(limits, name)) throw new TypeError(`AMESH_RELAY_LIMITS: ${name} occurs twice.`);
    limits[name] = Number(number);
  }
  try {
    readLimits(limits);
  } catch (error) {
    throw new TypeError(`AMESH_RELAY_LIMITS: ${(error as Error).message}`);
  }
  return limits;
}
