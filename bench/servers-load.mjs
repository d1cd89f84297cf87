// Sends requests to the servers of bench/servers.mjs over raw connections that stay open. It signs them before it is asked to
// send, so that the servers alone count.
import { once } from 'node:events';
import { connect } from 'node:net';
import { signRequest } from '@authmesh/sdk/core';

/** A JSON text of 1 KiB. */
export const BODY = Buffer.from(JSON.stringify({ item: 'book', note: 'a'.repeat(993), n: 1 }));

/** Requests as bytes, each signed anew. */
export async function prepare({
  port,
  signer,
  count,
  method = 'POST',
  asksForProof,
  isSigned = true,
  format,
}) {
  const host = `127.0.0.1:${port}`;
  const hasBody = method === 'POST';
  const view = {
    method,
    target: '/orders?b=2&a=1',
    authority: host,
    headers: {
      host,
      'user-agent': 'bench',
      accept: '*/*',
      ...(hasBody && { 'content-type': 'application/json', 'content-length': String(BODY.length) }),
    },
    body: hasBody ? BODY : null,
  };
  const requests = [];
  for (let i = 0; i < count; i++) {
    const { headers } = isSigned ? await signRequest(view, signer, { asksForProof, format }) : view;
    requests.push(toBytes(view, headers, hasBody ? BODY : Buffer.alloc(0)));
  }
  return requests;
}

/** One HTTP/1.1 request. */
export function toBytes({ method, target }, headers, body) {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([
    Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'),
    body,
  ]);
}

/** Connections that stay open, each with one request at a time. */
export class Load {
  #lanes;

  static async open(port, connections) {
    const lanes = Array.from({ length: connections }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      await once(socket, 'connect');
      return new Lane(socket);
    });
    return new Load(await Promise.all(lanes));
  }

  constructor(lanes) {
    this.#lanes = lanes;
  }

  /** Sends all requests. @returns how long each took, in ms, shortest first @throws Error if an answer is not the expected one */
  async send(requests, expected) {
    let next = 0;
    const took = [];
    const work = async (lane) => {
      while (next < requests.length) {
        const begin = performance.now();
        await lane.ask(requests[next++], expected);
        took.push(performance.now() - begin);
      }
    };
    await Promise.all(this.#lanes.map(work));
    return took.sort((a, b) => a - b);
  }

  close() {
    for (const lane of this.#lanes) lane.close();
  }
}

class Lane {
  #socket;
  #text = '';
  #waiting;

  constructor(socket) {
    this.#socket = socket;
    socket.on('data', (chunk) => this.#take(chunk));
    socket.on('close', () => this.#waiting?.reject(new Error('The server closed a connection.')));
    socket.on('error', (error) => this.#waiting?.reject(error));
  }

  ask(request, expected) {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) throw new Error('The server closed a connection.');
      this.#waiting = { resolve, reject, expected };
      this.#socket.write(request);
    });
  }

  close() {
    this.#socket.destroy();
  }

  #take(chunk) {
    this.#text += chunk.latin1Slice();
    const end = this.#text.indexOf('\r\n\r\n');
    if (end === -1) return;
    const head = this.#text.slice(0, end).toLowerCase();
    const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1];
    const isWhole =
      length === undefined ? this.#text.endsWith('0\r\n\r\n') : this.#text.length >= end + 4 + Number(length);
    if (!isWhole) return;
    const { resolve, reject, expected } = this.#waiting;
    const answer = this.#text;
    this.#text = '';
    const { status, isProven } = expected;
    const isRight =
      head.startsWith(`http/1.1 ${status}`) &&
      (isProven === undefined || head.includes('\r\nsignature: ') === isProven);
    if (isRight) resolve();
    else reject(new Error(`An answer is not as it should be: ${answer}`));
  }
}
