import { WrongMessageError } from './message';

/** An event of a stream. */
export interface StreamEvent {
  /** The ID of the latest event that had one; undefined before that. */
  readonly id: string | undefined;
  /** `message`, unless the event says otherwise. */
  readonly type: string;
  readonly data: string;
  /** The latest wait before a reconnection that the server asked for, in milliseconds. */
  readonly retryMs: number | undefined;
}

/**
 * Reads a stream of server-sent events. It also yields an event without data, if that has an ID.
 *
 * @param maxLength the most characters of one event
 * @throws WrongMessageError for a longer event; what the stream throws
 * @see the HTML standard, section 9.2.6
 */
export async function* readEvents(
  stream: ReadableStream<Uint8Array>,
  maxLength: number,
): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  const fields = new Fields();
  let begun: string[] = [];
  let length = 0;
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
    const text = decoder.decode(chunk, { stream: true });
    const isInLine = !/[\r\n]/.test(text) && !begun.at(-1)?.endsWith('\r');
    begun.push(text);
    length += text.length;
    if (!isInLine) {
      // A carriage return at the end may be half of a line ending.
      const lines = begun.join('').split(/\r\n|\n|\r(?!$)/);
      const rest = lines.pop() ?? '';
      begun = [rest];
      length = rest.length;
      for (const line of lines) {
        if (line === '' && fields.length > maxLength) break;
        const event = fields.take(line);
        if (event !== undefined) yield event;
      }
    }
    if (length + fields.length > maxLength)
      throw new WrongMessageError(`The server sent an event of more than ${maxLength} characters.`);
  }
  // An event without an empty line after it was cut off, and is dropped.
}

class Fields {
  #data: string[] = [];
  /** How many characters of data it holds. */
  length = 0;
  #type = '';
  #id: string | undefined;
  #hasId = false;
  #retryMs: number | undefined;

  /** @returns the event that an empty line ends */
  take(line: string): StreamEvent | undefined {
    if (line !== '') {
      this.#read(line);
      return undefined;
    }
    const isEvent = this.#data.length > 0 || this.#hasId;
    const event = {
      id: this.#id,
      type: this.#type === '' ? 'message' : this.#type,
      data: this.#data.join('\n'),
      retryMs: this.#retryMs,
    };
    this.#data = [];
    this.length = 0;
    this.#type = '';
    this.#hasId = false;
    return isEvent ? event : undefined;
  }

  #read(line: string): void {
    const [, name = '', value = ''] = /^([^:]*)(?:: ?([\s\S]*))?$/.exec(line) ?? [];
    if (name === 'data') {
      this.#data.push(value);
      this.length += value.length + 1;
    } else if (name === 'event') this.#type = value;
    else if (name === 'retry' && /^\d{1,9}$/.test(value)) this.#retryMs = Number(value);
    // The ID goes into a header, in which other characters could not be sent back.
    else if (name === 'id' && /^[\x20-\x7e]{1,1024}$/.test(value)) {
      this.#id = value;
      this.#hasId = true;
    }
  }
}
