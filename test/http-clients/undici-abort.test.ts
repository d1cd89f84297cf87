import { EventEmitter, once } from 'node:events';
import type { SignedRequest } from '@authmesh/sdk';
import { type Signing, signing } from '@authmesh/sdk/undici';
import { Agent, type Dispatcher, request } from 'undici';
import { describe, expect, it } from 'vitest';
import { useKnownTarget } from '../support/use-known-target';

const known = useKnownTarget();

interface Controller {
  abort(reason?: unknown): void;
  pause(): void;
  resume(): void;
}
type Method = (controller: Controller, ...args: never[]) => unknown;

/** A target that refuses the first requests for their time, so that they are signed and sent once more. */
async function refusing({ times = 1, handle }: { times?: number; handle?: () => Promise<unknown> } = {}) {
  let left = times;
  return known.serve({
    handle: async (_arrived, response) => {
      await handle?.();
      response.end('done');
    },
    front: (_request, response) => {
      if (left-- <= 0) return false;
      response.sendDate = false;
      response.writeHead(401, {
        'www-authenticate': 'AuthMesh error="timestamp_out_of_range"',
        date: new Date(Date.now() + 10_000).toUTCString(),
      });
      return Boolean(response.end('no'));
    },
  });
}

/** An instance whose nth signature waits until it may go on. It does not look at any signal. */
function slowAt(
  number: number,
): Signing & { readonly events: EventEmitter; readonly waits: Promise<unknown> } {
  const amesh = known.callerWith();
  const events = new EventEmitter();
  const waits = once(events, 'waits');
  let count = 0;
  const sign = async (asked: Parameters<Signing['sign']>[0]): Promise<SignedRequest> => {
    if (++count === number) {
      const goes = once(events, 'go');
      events.emit('waits');
      await goes;
    }
    const signed = await amesh.sign(asked);
    if (count === number) setImmediate(() => events.emit('signed'));
    return signed;
  };
  return { sign, events, waits };
}

/** A handler that notes what it is told, and may do something with its controller then. */
function handler(acts: { readonly [event: string]: (controller: Controller) => void } = {}) {
  const told: string[] = [];
  const events = new EventEmitter();
  const controllers = new Set<Controller>();
  const note =
    (name: string, say: (...args: never[]) => string = () => name): Method =>
    (controller, ...args) => {
      controllers.add(controller);
      told.push(say(...args));
      acts[name]?.(controller);
      events.emit(`was ${name}`);
    };
  const methods = {
    onRequestStart: note('start'),
    onResponseStart: note('head', (status: never) => `head ${status}`),
    onResponseData: note('data'),
    onResponseEnd: note('end'),
    onResponseError: note('error', (error: Error) => `error ${error.message}`),
    onRequestUpgrade: note('upgrade'),
  };
  return { told, events, controllers, methods: methods as never };
}

/** Until what was sent by now, or begun to be, has arrived. */
const settled = async (dispatcher: Dispatcher, origin: string) => {
  const { body } = await request(origin, { dispatcher });
  await body.dump();
};

const post = (origin: string, more: object = {}) =>
  ({ origin, path: '/pay', method: 'POST', body: 'x', ...more }) as Dispatcher.DispatchOptions;

describe('an abort while a request is signed once more', () => {
  it('sends nothing, and tells the handler once', async () => {
    const { origin, came } = await refusing();
    const amesh = slowAt(2);
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(amesh));
    const { told, controllers, methods } = handler();
    dispatcher.dispatch(post(origin), methods);
    await amesh.waits;
    const signed = once(amesh.events, 'signed');
    for (const controller of controllers) controller.abort(new Error('stop'));
    for (const controller of controllers) controller.abort(new Error('again'));
    expect(told).toEqual(['start', 'error stop']);
    amesh.events.emit('go');
    await signed;
    await settled(dispatcher, origin);
    expect(told).toEqual(['start', 'error stop']);
    expect(came.filter(({ url }) => url === '/pay')).toHaveLength(1);
  });

  it.each(['AbortSignal', 'EventEmitter'])('sends nothing if it comes from an %s', async (kind) => {
    const { origin, came } = await refusing();
    const amesh = slowAt(2);
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(amesh));
    const [aborting, emitter] = [new AbortController(), new EventEmitter()];
    const signal = kind === 'AbortSignal' ? aborting.signal : emitter;
    const sending = request(`${origin}/pay`, { method: 'POST', body: 'x', signal, dispatcher });
    const failing = expect(sending).rejects.toThrow(/abort/i);
    await amesh.waits;
    const signed = once(amesh.events, 'signed');
    aborting.abort();
    emitter.emit('abort');
    await failing;
    amesh.events.emit('go');
    await signed;
    await settled(dispatcher, origin);
    expect(came.filter(({ url }) => url === '/pay')).toHaveLength(1);
  });

  it('is one error, also if the signature fails afterwards', async () => {
    const { origin } = await refusing();
    const amesh = slowAt(2);
    const failed = new EventEmitter();
    const failing: Signing = {
      sign: async (asked) => {
        const signed = await amesh.sign(asked);
        if (!failed.emit('signed')) return signed;
        throw new Error('The key is gone.');
      },
    };
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(failing));
    const { told, controllers, methods } = handler();
    dispatcher.dispatch(post(origin), methods);
    await amesh.waits;
    const gone = once(failed, 'signed');
    for (const controller of controllers) controller.abort(new Error('stop'));
    amesh.events.emit('go');
    await gone;
    await new Promise(setImmediate);
    expect(told).toEqual(['start', 'error stop']);
  });

  it('sends no upgrade', async () => {
    const { origin, came } = await refusing();
    const amesh = slowAt(2);
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(amesh));
    const { told, controllers, methods } = handler();
    const upgrade = { path: '/ws', method: 'GET', body: null, upgrade: 'websocket' };
    dispatcher.dispatch(post(origin, upgrade), methods);
    await amesh.waits;
    const signed = once(amesh.events, 'signed');
    for (const controller of controllers) controller.abort(new Error('stop'));
    amesh.events.emit('go');
    await signed;
    await settled(dispatcher, origin);
    expect(told).toEqual(['start', 'error stop']);
    expect(came.filter(({ url }) => url === '/ws')).toHaveLength(1);
  });
});

describe('an abort before or after that', () => {
  it('sends nothing if the signal is aborted while the first attempt is signed, by an instance that ignores it', async () => {
    const { origin, came } = await refusing({ times: 0 });
    const amesh = slowAt(1);
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(amesh));
    const aborting = new AbortController();
    const { told, events, methods } = handler();
    dispatcher.dispatch(post(origin, { signal: aborting.signal }), methods);
    await amesh.waits;
    const failed = once(events, 'was error');
    aborting.abort(new Error('stop'));
    amesh.events.emit('go');
    await failed;
    await settled(dispatcher, origin);
    expect(told).toEqual(['error stop']);
    expect(came.filter(({ url }) => url === '/pay')).toEqual([]);
  });

  it('ends the second attempt while that waits for a connection, and nothing is sent', async () => {
    const busy = new EventEmitter();
    const handle = () => {
      const free = once(busy, 'free');
      busy.emit('taken');
      return free;
    };
    const { origin, came } = await refusing({ handle });
    const amesh = slowAt(2);
    const plain = new Agent({ connections: 1, pipelining: 1 });
    const dispatcher = plain.compose(signing(amesh));
    const { told, controllers, methods } = handler();
    dispatcher.dispatch(post(origin), methods);
    await amesh.waits;
    // Another request takes the only connection.
    const other = await known.callerWith().sign({ url: `${origin}/other`, method: 'GET' });
    const taken = once(busy, 'taken');
    const arriving = request(`${origin}/other`, {
      dispatcher: plain,
      headers: Object.fromEntries(other.headers),
    });
    await taken;
    const signed = once(amesh.events, 'signed');
    amesh.events.emit('go');
    await signed;
    for (const controller of controllers) controller.abort(new Error('stop'));
    expect(told).toEqual(['start', 'error stop']);
    busy.emit('free');
    await (await arriving).body.dump();
    const closing = plain.close();
    await closing;
    expect(told).toEqual(['start', 'error stop']);
    expect(came.map(({ url }) => url)).toEqual(['/pay', '/other']);
  });

  it('ends the second attempt while that is answered, by the controller of the first', async () => {
    const busy = new EventEmitter();
    const { origin, came } = await refusing({ handle: () => once(busy, 'never') });
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(known.callerWith()));
    const { told, events, controllers, methods } = handler();
    dispatcher.dispatch(post(origin), methods);
    await expect.poll(() => came).toHaveLength(2);
    const failed = once(events, 'was error');
    for (const controller of [...controllers].slice(0, 1)) controller.abort(new Error('stop'));
    await failed;
    expect(told).toEqual(['start', 'error stop']);
  });

  it('ends a refusal that is passed on', async () => {
    const { origin } = await known.serve({
      front: (_request, response) => {
        response.writeHead(401, { 'www-authenticate': 'AuthMesh error="unauthorized"' });
        return Boolean(response.end('no'));
      },
    });
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(known.callerWith()));
    const { told, events, methods } = handler({ head: (controller) => controller.abort(new Error('stop')) });
    dispatcher.dispatch(post(origin), methods);
    await once(events, 'was error');
    await new Promise(setImmediate);
    expect(told).toEqual(['start', 'head 401', 'error stop']);
  });
});

describe('a handler that wants no data for now', () => {
  it('gets the head of the second answer, and no data before it goes on', async () => {
    const { origin } = await refusing();
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(known.callerWith()));
    const { told, events, controllers, methods } = handler({ start: (controller) => controller.pause() });
    dispatcher.dispatch(post(origin), methods);
    await once(events, 'was head');
    await settled(dispatcher, origin);
    expect(told).toEqual(['start', 'head 200']);
    const ended = once(events, 'was end');
    for (const controller of controllers) controller.resume();
    await ended;
    expect(told).toEqual(['start', 'head 200', 'data', 'end']);
  });

  it.each([20, 10_000])('gets no data of a refusal of %i bytes that is passed on', async (bytes) => {
    const { origin } = await known.serve({
      front: (_request, response) => {
        response.writeHead(401, { 'www-authenticate': 'AuthMesh error="unauthorized"' });
        return Boolean(response.end('x'.repeat(bytes)));
      },
    });
    const dispatcher = new Agent({ keepAliveTimeout: 10 }).compose(signing(known.callerWith()));
    const { told, events, controllers, methods } = handler({ head: (controller) => controller.pause() });
    dispatcher.dispatch(post(origin), methods);
    await once(events, 'was head');
    await settled(dispatcher, origin);
    expect(told).toEqual(['start', 'head 401']);
    const ended = once(events, 'was end');
    for (const controller of controllers) controller.resume();
    await ended;
    expect(told.filter((each) => each !== 'data')).toEqual(['start', 'head 401', 'end']);
  });
});
