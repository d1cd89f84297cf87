import { createHash, randomInt } from 'node:crypto';
import { createServer as createHttp1, METHODS } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2, type IncomingHttpHeaders } from 'node:http2';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { verify as verifyExpress } from '@authmesh/sdk/express';
import { describe, expect, it } from 'vitest';
import { kindsHere } from '../contract/kinds';
import { CONTROL, Subject } from '../contract/subject';
import { signerOf } from '../support/core';
import { times } from '../support/full';
import { type FuzzAnswer, fuzz, type Send } from '../support/fuzz';
import { connectHttp2 as startHttp2 } from '../support/http2';
import { invoke, lambdaAdapters, lambdaSources } from '../support/lambda';
import { listen } from '../support/listen';
import { toBytes } from '../support/mutations';
import { requireRuntime, serverRuntimes } from '../support/runtime-server';
import { vectors } from '../support/vectors';

/** How many requests each server gets; AMESH_FUZZ_REQUESTS for more than CI has time for. */
const REQUESTS = Number(process.env.AMESH_FUZZ_REQUESTS ?? times(100, 500, 50_000));
/** AMESH_FUZZ_SEED sends the same ones again. */
const SEED = Number(process.env.AMESH_FUZZ_SEED ?? randomInt(2 ** 31));
const TIMEOUT_MS = 300_000 + REQUESTS * 100;
/** A server that has said nothing by then waits for more. */
const PATIENCE_MS = 500;

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function run(authority: string, send: Send, atOnce = 8): Promise<void> {
  const options = { requests: REQUESTS, seed: SEED, atOnce };
  const { deviceId } = vectors.devices.controller;
  const outcome = await fuzz(await signerOf('controller'), authority, deviceId, options, send, sha256);
  const { otherMeaning, ...counts } = outcome;
  console.log(`${expect.getState().currentTestName} (seed ${SEED})`, JSON.stringify(counts));
  expect(otherMeaning.slice(0, 5), `seed ${SEED}`).toEqual([]);
  // Or nothing was tried: some changes do not matter, and most do.
  expect(outcome.accepted, `seed ${SEED}`).toBeGreaterThan(0);
  expect(outcome.refused, `seed ${SEED}`).toBeGreaterThan(REQUESTS / 4);
}

/** Over a socket of its own, byte for byte. */
function overSocket(port: number): Send {
  return async (draft, random) => {
    const bytes = toBytes(draft, random);
    const text = bytes.toString('latin1');
    const head = text.slice(0, text.indexOf('\r\n\r\n'));
    return { answer: await exchange(port, bytes), sent: head.split(/\r?\n/).slice(1) };
  };
}

function exchange(port: number, bytes: Uint8Array): Promise<FuzzAnswer> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let received = '';
    const done = () => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answerIn(received) ?? { status: null, body: '' });
    };
    // Then it hears of the end, and has as long again.
    let timer = setTimeout(() => {
      socket.end();
      timer = setTimeout(done, PATIENCE_MS * 4);
    }, PATIENCE_MS);
    socket.setEncoding('latin1').on('data', (chunk) => {
      received += chunk;
      if (answerIn(received) !== null) done();
    });
    socket.on('error', done).on('close', done);
    socket.write(bytes);
  });
}

/** The first answer that is not interim, when all of it is there. */
function answerIn(received: string): FuzzAnswer | null {
  const text = received.replace(/^(?:HTTP\/1\.1 1\d\d[\s\S]*?\r\n\r\n)+/, '');
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const [, status] = /^HTTP\/1\.[01] (\d{3})/.exec(text) ?? [];
  const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end))?.[1];
  const body = text.slice(end + 4);
  if (length !== undefined)
    return body.length < Number(length)
      ? null
      : { status: Number(status), body: body.slice(0, Number(length)) };
  const chunk = /^[0-9a-f]+\r\n([\s\S]*)\r\n0\r\n\r\n$/i.exec(body);
  if (/\r\ntransfer-encoding: *chunked/i.test(text.slice(0, end)))
    return chunk === null ? null : { status: Number(status), body: chunk[1] ?? '' };
  return { status: Number(status), body };
}

/** A handler of Node, of either version. */
function nodeHandler(subject: Subject) {
  const verify = verifyExpress({ amesh: subject });
  // biome-ignore lint/suspicious/noExplicitAny: the two versions' classes have nothing in common
  return (request: any, response: any) =>
    verify(request, response, async (error) => {
      if (error) throw error;
      const body = Buffer.concat(await request.toArray());
      const seen = await subject.seen('app', request.authMesh, request.method, request.url, body);
      response.end(JSON.stringify(seen));
    });
}

describe('mutated requests are not let in with another meaning', () => {
  const servers = kindsHere.filter(({ runtime }) => serverRuntimes.includes(runtime));
  it.for(servers)('by $name', { timeout: TIMEOUT_MS }, async (kind, { skip }) => {
    if ((await requireRuntime(kind.runtime)) === null) skip();
    const server = await kind.start();
    const authority = `127.0.0.1:${server.port}`;
    const control = () => fetch(`http://${authority}${CONTROL}`);
    try {
      const setting = { method: 'POST', body: JSON.stringify({ hosts: [authority] }) };
      await fetch(`http://${authority}${CONTROL}`, setting);
      await run(authority, overSocket(server.port));
      expect((await control()).status).toBe(200);
    } finally {
      await server.close();
    }
  });

  it('by node:http', { timeout: TIMEOUT_MS }, async () => {
    const subject = new Subject();
    const server = await listen(createHttp1(nodeHandler(subject)));
    subject.control('POST', JSON.stringify({ hosts: [server.authority] }));
    await run(server.authority, overSocket(server.port));
    await server.close();
  });

  it('by HTTP/2', { timeout: TIMEOUT_MS }, async () => {
    const subject = new Subject();
    const pair = await startHttp2(createHttp2(nodeHandler(subject)));
    const authority = `127.0.0.1:${pair.port}`;
    subject.control('POST', JSON.stringify({ hosts: [authority] }));
    await run(authority, async (draft) => {
      const { method, target, headers } = structured(draft);
      const fields: IncomingHttpHeaders = { ':method': method, ':path': target };
      for (const [name, value] of headers) add(fields, name, value);
      const answer = await overHttp2(authority, fields, draft.body);
      const sent = headers.map(([name, value]) => `${name}: ${value}`);
      // Node's client fills it in.
      return { answer, sent: fields[':authority'] === undefined ? [...sent, `host: ${authority}`] : sent };
    });
    await pair.close();
  });

  it.each(lambdaAdapters)('by $name on Lambda', { timeout: TIMEOUT_MS }, async (adapter) => {
    const handler = await adapter.create(new Subject());
    await run('api.example.com', async (draft, random) => {
      const { method, target, headers } = structured(draft);
      const request = { method, target, headers, body: draft.body };
      // AWS answers for itself where a method is none of HTTP; @fastify/aws-lambda throws out of its promise then.
      if (!METHODS.includes(method)) return { answer: { status: 400, body: '' }, sent: [] };
      const source = random.pick(lambdaSources);
      const answer: FuzzAnswer = await Promise.race([
        invoke(handler, request, source).catch((error) => ({ status: null, body: String(error) })),
        sleep(30_000, null, { ref: false }).then(() => {
          throw new Error(
            `No answer in 30 s: ${source} ${JSON.stringify({ ...request, body: String(request.body) })}`,
          );
        }),
      ]);
      return { answer, sent: headers.map(([name, value]) => `${name}: ${value}`) };
    });
  });
});

/** A request as names and values, where it does not go over a socket of HTTP/1. */
function structured({ line, headers }: { line: string; headers: readonly string[] }) {
  const [method = '', target = ''] = line.split(' ');
  const pairs = headers
    .filter((header) => header.indexOf(':') > 0)
    .map((header): [string, string] => [
      header.slice(0, header.indexOf(':')),
      header.slice(header.indexOf(':') + 1).trim(),
    ]);
  return { method, target, headers: pairs };
}

function add(fields: IncomingHttpHeaders, name: string, value: string): void {
  const key = name.toLowerCase() === 'host' ? ':authority' : name.toLowerCase();
  if (key === ':authority' && fields[key] !== undefined) fields.host = value;
  else fields[key] = fields[key] === undefined ? value : [fields[key] as string, value].flat();
}

/** In a session of its own, which a client ends that is made to send what HTTP/2 forbids. */
function overHttp2(authority: string, fields: IncomingHttpHeaders, body: Buffer): Promise<FuzzAnswer> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://${authority}`);
    let status: number | null = null;
    let text = '';
    let isWhole = false;
    const done = () => {
      clearTimeout(timer);
      session.destroy();
      resolve(isWhole ? { status, body: text } : { status: null, body: '' });
    };
    const timer = setTimeout(done, PATIENCE_MS * 4);
    session.on('error', done).on('close', done);
    try {
      const stream = session.request(fields, { endStream: body.length === 0 });
      stream.on('response', (head) => {
        status = head[':status'] ?? null;
      });
      stream.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      stream.on('end', () => {
        isWhole = status !== null;
      });
      stream.on('error', () => {}).on('close', done);
      if (body.length > 0) stream.end(body);
    } catch {
      done(); // what this client does not send at all
    }
  });
}
