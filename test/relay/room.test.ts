import { randomInt } from 'node:crypto';
import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Limits, readLimits } from '../../relay/src/limits/limits';
import { RateLimit } from '../../relay/src/limits/rate-limit';
import type { Effect } from '../../relay/src/room/effects';
import { Room } from '../../relay/src/room/room';
import type { ClientFrame, RelayFrame } from '../../relay/src/wire/frames';
import { times } from '../support/full';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** A room and what its clients, which are names, have got so far. */
class Scene {
  now = 0;
  readonly room: Room<string>;
  readonly got = new Map<string, RelayFrame[]>();
  readonly closed = new Set<string>();
  readonly outcomes: string[] = [];
  #names = 0;

  constructor(limits: Partial<Limits> = {}, randomCode = () => randomInt(100_000, 1_000_000)) {
    this.room = new Room({ limits: readLimits(limits), randomCode, randomId: () => `s${++this.#names}` });
  }

  connect(name: string, address = name): string {
    this.#perform(this.room.connect(name, address, this.now));
    return name;
  }

  say(name: string, frame: ClientFrame | { fault: 'bad_message' }): RelayFrame[] {
    this.got.set(name, []);
    this.#perform(this.room.receive(name, frame, this.now));
    return this.of(name);
  }

  leave(name: string): void {
    this.#perform(this.room.disconnect(name, this.now));
  }

  pass(ms: number): void {
    this.now += ms;
    this.#perform(this.room.sweep(this.now));
  }

  drain(): void {
    this.#perform(this.room.drain());
  }

  /** What it has got since it said something. */
  of(name: string): RelayFrame[] {
    return this.got.get(name) ?? [];
  }

  listen(name: string, address?: string): string {
    const [frame] = this.say(this.connect(name, address), { type: 'listen' });
    if (frame?.type !== 'listening') throw new Error(`Not listening: ${JSON.stringify(frame)}`);
    return frame.code;
  }

  pair(listener: string, joiner: string): string {
    const code = this.listen(listener);
    this.say(this.connect(joiner), { type: 'join', code });
    this.got.clear();
    return code;
  }

  #perform(effects: readonly Effect<string>[]): void {
    for (const effect of effects) {
      if (effect.type === 'event') this.outcomes.push(`${effect.event.event} ${effect.event.outcome}`);
      else if (effect.type === 'send' || effect.type === 'close') {
        expect(this.closed, `something after the close of ${effect.to}`).not.toContain(effect.to);
        if (effect.type === 'close') this.closed.add(effect.to);
        else this.got.set(effect.to, [...this.of(effect.to), effect.frame]);
      }
    }
  }
}

const error = (code: string, more = {}) => ({ type: 'error', code, ...more });

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});

describe('a code', () => {
  it('pairs two clients, whose messages go both ways until one sends bye', () => {
    const code = scene.listen('t');
    expect(code).toMatch(/^[1-9]\d{5}$/);
    scene.say(scene.connect('c'), { type: 'join', code });
    expect(scene.of('t').at(-1)).toEqual({ type: 'peer' });
    expect(scene.of('c')).toEqual([{ type: 'peer' }]);
    scene.say('c', { type: 'msg', body: 'to t' });
    expect(scene.of('t').at(-1)).toEqual({ type: 'msg', body: 'to t' });
    scene.say('t', { type: 'msg', body: 'to c' });
    expect(scene.of('c').at(-1)).toEqual({ type: 'msg', body: 'to c' });
    scene.say('c', { type: 'bye' });
    expect(scene.of('t').at(-1)).toEqual({ type: 'peer_gone' });
    expect(scene.closed).toEqual(new Set(['t', 'c']));
    expect(scene.outcomes).toContain('end bye');
  });

  it('is burnt by the first join: a second gets code_used, and the listener is told and stays', () => {
    const code = scene.pair('t', 'c');
    expect(scene.say(scene.connect('m'), { type: 'join', code })).toEqual([error('code_used')]);
    expect(scene.closed).toEqual(new Set(['m']));
    expect(scene.of('t')).toEqual([error('code_used')]);
    expect(scene.of('c')).toEqual([]);
    scene.say('c', { type: 'msg', body: 'still here' });
    expect(scene.of('t').at(-1)).toEqual({ type: 'msg', body: 'still here' });
  });

  it('is still used, and not unknown, after the session has ended', () => {
    const code = scene.pair('t', 'c');
    scene.leave('t');
    expect(scene.say(scene.connect('m'), { type: 'join', code })).toEqual([error('code_used')]);
  });

  it('that was not given out is not found', () => {
    const code = scene.listen('t') === '100000' ? '100001' : '100000';
    expect(scene.say(scene.connect('c'), { type: 'join', code })).toEqual([error('code_not_found')]);
  });

  it('is good for just under 60 s', () => {
    const first = scene.listen('t');
    scene.pass(MINUTE - 1);
    expect(scene.say(scene.connect('c'), { type: 'join', code: first })).toEqual([{ type: 'peer' }]);
    const second = scene.listen('t2');
    scene.pass(MINUTE);
    expect(scene.of('t2').at(-1)).toEqual(error('session_expired'));
    expect(scene.say(scene.connect('c2'), { type: 'join', code: second })).toEqual([error('code_not_found')]);
  });

  it('ends with its listener', () => {
    const code = scene.listen('t');
    scene.leave('t');
    expect(scene.say(scene.connect('c'), { type: 'join', code })).toEqual([error('code_not_found')]);
  });

  it.each(['expires', 'is joined', 'is given up'])(
    'is not given out again for 10 minutes after it %s',
    (how) => {
      let next = 100_000;
      scene = new Scene({ sessionMs: SECOND }, () => next++);
      const code = scene.listen('t');
      if (how === 'is joined') scene.say(scene.connect('c'), { type: 'join', code });
      if (how === 'is given up') scene.say('t', { type: 'bye' });
      scene.pass(MINUTE);
      const over = how === 'expires' ? MINUTE : 0;
      scene.now = over + 10 * MINUTE - SECOND;
      next = 100_000;
      expect(scene.listen('t1', 'a')).toBe('100001');
      scene.now = over + 10 * MINUTE;
      next = 100_000;
      expect(scene.listen('t2', 'a')).toBe('100000');
    },
  );

  it('is refused with capacity if every code that the generator finds still rests', () => {
    scene = new Scene({}, () => 123_456);
    expect(scene.listen('t')).toBe('123456');
    expect(scene.say(scene.connect('u'), { type: 'listen' })).toEqual([error('capacity')]);
  });
});

describe('deadlines', () => {
  it('a client has to send its first frame within 5 s', () => {
    scene.connect('a');
    scene.pass(5 * SECOND - 1);
    expect(scene.closed.size).toBe(0);
    scene.pass(1);
    expect(scene.of('a')).toEqual([error('session_expired')]);
  });

  it('a session ends 300 s after the join, for both', () => {
    scene.pair('t', 'c');
    scene.pass(300 * SECOND - 1);
    expect(scene.closed.size).toBe(0);
    scene.pass(1);
    expect(scene.of('t')).toEqual([error('session_expired')]);
    expect(scene.of('c')).toEqual([error('session_expired')]);
  });
});

describe('messages', () => {
  it.each(['t', 'c'])('32 in one direction and no more, from %s', (from) => {
    scene.pair('t', 'c');
    const to = from === 't' ? 'c' : 't';
    for (let i = 0; i < 32; i++) scene.say(from, { type: 'msg', body: '' });
    expect(scene.of(to)).toHaveLength(32);
    expect(scene.say(from, { type: 'msg', body: '' })).toEqual([error('too_large')]);
    expect(scene.of(to).at(-1)).toEqual({ type: 'peer_gone' });
  });

  it('64 KiB in one direction and no byte more', () => {
    scene.pair('t', 'c');
    for (let i = 0; i < 8; i++) expect(scene.say('t', { type: 'msg', body: 'é'.repeat(4096) })).toEqual([]);
    expect(scene.say('t', { type: 'msg', body: 'a' })).toEqual([error('too_large')]);
  });

  it.each<[string, ClientFrame]>([
    ['msg before anything', { type: 'msg', body: '' }],
    ['listen twice', { type: 'listen' }],
    ['join while listening', { type: 'join', code: '123456' }],
    ['post while listening', { type: 'post', box: 'b', body: '' }],
    ['msg while listening', { type: 'msg', body: '' }],
  ])('%s is a bad_message', (what, frame) => {
    if (what === 'msg before anything') scene.connect('t');
    else scene.listen('t');
    expect(scene.say('t', frame)).toEqual([error('bad_message')]);
    expect(scene.closed).toContain('t');
  });

  it('a bad message ends the session for both', () => {
    scene.pair('t', 'c');
    expect(scene.say('c', { fault: 'bad_message' })).toEqual([error('bad_message')]);
    expect(scene.of('t')).toEqual([{ type: 'peer_gone' }]);
    expect(scene.closed).toEqual(new Set(['t', 'c']));
  });
});

describe('a mailbox', () => {
  const post = (name: string, body: string) =>
    scene.say(scene.connect(name), { type: 'post', box: 'b', body });
  const wait = (name: string) => scene.say(scene.connect(name), { type: 'wait', box: 'b' });

  it('gives its message to the client that waits, and accepts no second one', () => {
    wait('w');
    expect(post('p', 'hello')).toEqual([]);
    expect(scene.of('w')).toEqual([{ type: 'msg', body: 'hello' }]);
    expect(scene.closed).toEqual(new Set(['w', 'p']));
    expect(post('p2', 'again')).toEqual([error('code_used')]);
    expect(wait('w2')).toEqual([error('code_used')]);
  });

  it('keeps a message until a client waits', () => {
    expect(post('p', 'hello')).toEqual([]);
    expect(post('p2', 'another')).toEqual([error('code_used')]);
    scene.pass(300 * SECOND - 1);
    expect(wait('w')).toEqual([{ type: 'msg', body: 'hello' }]);
    expect(scene.room.counts.storedBytes).toBe(0);
  });

  it('forgets its message after 300 s, and tells the client that waits', () => {
    post('p', 'hello');
    scene.say(scene.connect('w'), { type: 'wait', box: 'other' });
    scene.pass(300 * SECOND);
    expect(scene.of('w')).toEqual([error('session_expired')]);
    expect(wait('w2')).toEqual([]);
    expect(scene.room.counts).toMatchObject({ mailboxes: 1, storedBytes: 0 });
  });

  it('has one client that waits, and is free when that client leaves', () => {
    wait('w');
    expect(wait('w2')).toEqual([error('code_used')]);
    scene.leave('w');
    expect(wait('w3')).toEqual([]);
  });

  it('that is used counts against the rate limit, and is refused while the relay drains', () => {
    wait('w');
    post('p', 'hello');
    for (let i = 0; i < 10; i++) {
      const name = scene.connect(`${i}`, 'a');
      const frame = {
        box: 'b',
        ...(i % 2 === 0 ? { type: 'wait' as const } : { type: 'post' as const, body: '' }),
      };
      expect(scene.say(name, frame)).toEqual([error('code_used')]);
    }
    expect(scene.say(scene.connect('x', 'a'), { type: 'wait', box: 'b' })).toEqual([
      error('rate_limited', { retryAfter: 60 }),
    ]);
    scene.drain();
    expect(wait('y')).toEqual([error('draining')]);
  });

  it('its stored bytes are limited', () => {
    scene = new Scene({ mailboxBytes: 20_000 });
    for (const [i, stored] of [8000, 16_000, 16_000, 16_000].entries()) {
      expect(
        scene.say(scene.connect(`p${i}`), { type: 'post', box: `${i}`, body: 'a'.repeat(8000) }),
      ).toEqual([]);
      expect(scene.room.counts.storedBytes).toBe(stored);
    }
    // The sender of the first two has gone, and with them their messages.
    expect(scene.outcomes.filter((outcome) => outcome === 'post gave_way')).toHaveLength(2);
  });

  it('gives way to others when its sender has gone, and keeps its place while a client waits', () => {
    scene = new Scene({ mailboxes: 2 });
    post('p', 'hello');
    scene.say(scene.connect('w'), { type: 'wait', box: 'other' });
    expect(scene.say(scene.connect('w2'), { type: 'wait', box: 'third' })).toEqual([]);
    expect(scene.outcomes).toContain('post gave_way');
    expect(scene.say(scene.connect('w3'), { type: 'wait', box: 'fourth' })).toEqual([error('capacity')]);
    scene.leave('w');
    expect(scene.say(scene.connect('w4'), { type: 'wait', box: 'fourth' })).toEqual([]);
  });

  it('an address has 32, with 64 KiB in all; used ones are evicted first', () => {
    scene = new Scene({ listensPerMinute: 1000 });
    const postFrom = (name: string, bytes: number) =>
      scene.say(scene.connect(name, 'a'), { type: 'post', box: name, body: 'x'.repeat(bytes) });
    const waitFrom = (name: string) => scene.say(scene.connect(name, 'a'), { type: 'wait', box: name });
    for (let i = 0; i < 16; i++) {
      waitFrom(`${i}`);
      scene.leave(`${i}`);
      postFrom(`${i}`, 10);
      scene.leave(`${i}`);
    }
    for (let i = 0; i < 8; i++) {
      expect(postFrom(`p${i}`, 8000)).toEqual([]);
      scene.leave(`p${i}`);
    }
    expect(postFrom('q', 8000)).toEqual([error('rate_limited', { retryAfter: 60 })]);
    scene.leave('q');
    for (let i = 0; i < 8; i++) {
      postFrom(`r${i}`, 1);
      scene.leave(`r${i}`);
    }
    expect(postFrom('s', 1)).toEqual([error('rate_limited', { retryAfter: 60 })]);
  });
});

describe('limits of an address', () => {
  it('are remembered for a limited number of addresses: the one that was quiet for longest is forgotten', () => {
    const limit = new RateLimit(1, 3);
    for (const [i, address] of ['a', 'b', 'c', 'a', 'd'].entries()) limit.add(address, i);
    expect(limit.size).toBe(3);
    expect(['a', 'b', 'c', 'd'].map((address) => limit.retryAfterSeconds(address, 5) > 0)).toEqual([
      true,
      false,
      true,
      true,
    ]);
    limit.sweep(MINUTE + 4);
    expect(limit.size).toBe(0);
  });

  it('20 sockets, free again when one closes', () => {
    for (let i = 0; i < 20; i++) scene.connect(`${i}`, 'a');
    scene.connect('21', 'a');
    expect(scene.of('21')).toEqual([error('rate_limited', { retryAfter: 60 })]);
    scene.connect('other', 'b');
    expect(scene.closed).toEqual(new Set(['21']));
    scene.leave('21');
    scene.leave('0');
    scene.connect('22', 'a');
    expect(scene.of('22')).toEqual([]);
  });

  it('10 listens in any minute', () => {
    for (let i = 0; i < 10; i++) {
      scene.listen(`${i}`, 'a');
      scene.now += SECOND;
    }
    expect(scene.say(scene.connect('x', 'a'), { type: 'listen' })).toEqual([
      error('rate_limited', { retryAfter: 50 }),
    ]);
    scene.now = MINUTE - 1;
    expect(scene.say(scene.connect('y', 'a'), { type: 'listen' })[0]).toMatchObject({ retryAfter: 1 });
    scene.now = MINUTE;
    scene.listen('z', 'a');
    scene.listen('elsewhere', 'b');
  });

  it('10 failed joins in any minute, then not even the right code', () => {
    const code = scene.listen('t');
    const wrong = code === '100000' ? '100001' : '100000';
    for (let i = 0; i < 10; i++) {
      expect(scene.say(scene.connect(`${i}`, 'a'), { type: 'join', code: wrong })[0]).toMatchObject({
        code: 'code_not_found',
      });
      scene.leave(`${i}`);
    }
    expect(scene.say(scene.connect('x', 'a'), { type: 'join', code })).toEqual([
      error('rate_limited', { retryAfter: 60 }),
    ]);
    expect(scene.say(scene.connect('y', 'b'), { type: 'join', code })).toEqual([{ type: 'peer' }]);
  });

  it('a join with a used code counts as failed', () => {
    const code = scene.pair('t', 'c');
    for (let i = 0; i < 10; i++) scene.say(scene.connect(`${i}`, 'a'), { type: 'join', code });
    expect(scene.say(scene.connect('x', 'a'), { type: 'join', code })[0]).toMatchObject({
      code: 'rate_limited',
    });
  });

  it('are forgotten after a quiet minute', () => {
    for (let i = 0; i < 100; i++) scene.listen(`${i}`, `${i}`);
    expect(scene.room.counts.rememberedAddresses).toBe(100);
    scene.pass(MINUTE);
    expect(scene.room.counts.rememberedAddresses).toBe(0);
  });
});

describe('limits of all clients together', () => {
  it('sockets', () => {
    scene = new Scene({ sockets: 3 });
    for (const name of ['a', 'b', 'c', 'd']) scene.connect(name);
    expect(scene.of('d')).toEqual([error('capacity')]);
    expect(scene.closed).toEqual(new Set(['d']));
  });

  it('sessions and mailboxes are counted separately', () => {
    scene = new Scene({ sessions: 1, mailboxes: 1 });
    scene.listen('a');
    expect(scene.say(scene.connect('c'), { type: 'listen' })).toEqual([error('capacity')]);
    scene.say(scene.connect('w'), { type: 'wait', box: 'b' });
    expect(scene.say(scene.connect('d'), { type: 'post', box: 'other', body: '' })).toEqual([
      error('capacity'),
    ]);
    expect(scene.say(scene.connect('p'), { type: 'post', box: 'b', body: '' })).toEqual([]);
  });

  it('the address that holds most is evicted: a waiting code before a session, and never for an address that would hold more', () => {
    scene = new Scene({ sessions: 3 });
    const code = scene.listen('t', 'a');
    scene.say(scene.connect('c', 'b'), { type: 'join', code });
    scene.listen('t2', 'a');
    scene.listen('t3', 'a');
    expect(scene.say(scene.connect('t4', 'a'), { type: 'listen' })).toEqual([error('capacity')]);
    scene.listen('d', 'b');
    expect(scene.of('t2').at(-1)).toEqual(error('capacity'));
    expect(scene.say(scene.connect('e', 'b'), { type: 'listen' })).toEqual([error('capacity')]);
    scene.say('c', { type: 'msg', body: 'still here' });
    expect(scene.of('t').at(-1)).toEqual({ type: 'msg', body: 'still here' });
  });
});

describe('draining', () => {
  it('refuses new clients, and lets a code be joined and a session end', () => {
    const code = scene.listen('t');
    scene.connect('idle');
    scene.say(scene.connect('w'), { type: 'wait', box: 'b' });
    scene.drain();
    expect(scene.of('idle')).toEqual([error('draining')]);
    expect(scene.of('w')).toEqual([error('draining')]);
    expect(scene.say(scene.connect('n'), { type: 'listen' })).toEqual([error('draining')]);
    expect(
      scene.say(scene.connect('m'), { type: 'join', code: code === '100000' ? '100001' : '100000' }),
    ).toEqual([error('draining')]);
    expect(scene.say(scene.connect('c'), { type: 'join', code })).toEqual([{ type: 'peer' }]);
    expect(scene.room.isBusy).toBe(true);
    scene.say('c', { type: 'bye' });
    expect(scene.room.isBusy).toBe(false);
  });
});

describe('any sequence of frames', () => {
  const NAMES = ['a', 'b', 'c', 'd', 'e'];
  const name = fc.constantFrom(...NAMES);
  const step = fc.oneof(
    fc.record({ do: fc.constant('connect' as const), name }),
    fc.record({ do: fc.constant('leave' as const), name }),
    fc.record({ do: fc.constant('listen' as const), name }),
    fc.record({ do: fc.constant('join' as const), name, of: name }),
    fc.record({ do: fc.constant('msg' as const), name, bytes: fc.nat(8192) }),
    fc.record({ do: fc.constant('bye' as const), name }),
    fc.record({ do: fc.constant('post' as const), name, box: fc.constantFrom('x', 'y') }),
    fc.record({ do: fc.constant('wait' as const), name, box: fc.constantFrom('x', 'y') }),
    fc.record({ do: fc.constant('bad' as const), name }),
    fc.record({ do: fc.constant('pass' as const), ms: fc.nat(100_000) }),
  );

  it('messages reach only the partner, nothing is sent after a close, and nothing is left', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const scene = new Scene();
        const open = new Set<string>();
        const codes = new Map<string, string>();
        const joined = new Set<string>();
        const partner = new Map<string, string>();
        const part = (name: string) => {
          partner.delete(partner.get(name) ?? '');
          partner.delete(name);
        };
        let count = 0;
        const alias = new Map<string, string>(); // each connection anew
        for (const step of steps) {
          if (step.do === 'pass') {
            scene.pass(step.ms);
          } else if (step.do === 'connect') {
            if (open.has(alias.get(step.name) ?? '')) continue;
            alias.set(step.name, `${step.name}${count++}`);
            const client = alias.get(step.name) as string;
            open.add(scene.connect(client, step.name));
          } else {
            const client = alias.get(step.name) ?? '';
            if (!open.has(client)) continue;
            const before = new Map(NAMES.map((n) => [alias.get(n), scene.of(alias.get(n) ?? '').length]));
            if (step.do === 'leave') {
              scene.leave(client);
              open.delete(client);
              part(client);
            } else if (step.do === 'listen') {
              const [frame] = scene.say(client, { type: 'listen' });
              if (frame?.type === 'listening') {
                expect([...codes.values()]).not.toContain(frame.code);
                codes.set(client, frame.code);
              }
            } else if (step.do === 'join') {
              const of = alias.get(step.of) ?? '';
              const code = codes.get(of);
              if (code === undefined) continue;
              const isPeer = scene.say(client, { type: 'join', code })[0]?.type === 'peer';
              if (isPeer) {
                expect(joined, 'a code that is joined twice').not.toContain(code);
                joined.add(code);
                partner.set(client, of).set(of, client);
              }
            } else if (step.do === 'msg') {
              const body = 'a'.repeat(step.bytes);
              const answer = scene.say(client, { type: 'msg', body });
              const to = partner.get(client);
              for (const n of NAMES) {
                const other = alias.get(n) as string;
                if (other === undefined || other === client) continue;
                const fresh = scene.of(other).slice(before.get(other) ?? 0);
                if (other !== to) expect(fresh).toEqual([]);
                else if (answer.length === 0) expect(fresh).toEqual([{ type: 'msg', body }]);
              }
            } else if (step.do === 'bye') scene.say(client, { type: 'bye' });
            else if (step.do === 'bad') scene.say(client, { fault: 'bad_message' });
            else if (step.do === 'post') scene.say(client, { type: 'post', box: step.box, body: 'b' });
            else scene.say(client, { type: 'wait', box: step.box });
          }
          for (const [client] of partner) if (scene.closed.has(client)) part(client);
          expect(scene.room.counts.clients).toBe(open.size);
        }
        for (const client of open) scene.leave(client);
        scene.pass(10 * MINUTE);
        expect(scene.room.counts).toEqual({
          clients: 0,
          listening: 0,
          paired: 0,
          mailboxes: 0,
          storedBytes: 0,
          deadlines: 0,
          addresses: 0,
          rememberedAddresses: 0,
        });
      }),
      { numRuns: times(100, 500) },
    );
  });
});
