import { randomInt, randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readLimits } from '../../relay/src/limits/limits';
import type { BurnAnswer, Effect } from '../../relay/src/room/effects';
import { Room } from '../../relay/src/room/room';
import type { ClientFrame, RelayFrame } from '../../relay/src/wire/frames';
import { times } from '../support/full';

type Task = () => void;

/** Rooms that share codes, and between them a world in which everything takes its time. */
class World {
  now = 0;
  readonly rooms = new Map<string, Room<string>>();
  readonly codes = new Map<string, { state: 'open' | 'used' | 'over'; instance: string; session: string }>();
  readonly got = new Map<string, RelayFrame[]>();
  readonly closed = new Set<string>();
  /** Whether messages get lost and come twice. */
  isBad = false;
  readonly #lanes = new Map<string, Task[]>();

  constructor(names: readonly string[]) {
    for (const name of names) {
      const room = new Room<string>({
        limits: readLimits(),
        randomCode: () => randomInt(100_000, 100_010), // so few that they collide
        randomId: randomUUID,
        isClustered: true,
      });
      room.connectCluster();
      this.rooms.set(name, room);
    }
  }

  /** Lets the first thing of one lane happen. */
  step(which: number): void {
    const lanes = [...this.#lanes.values()].filter((lane) => lane.length > 0);
    if (lanes.length > 0) (lanes[which % lanes.length] as Task[]).shift()?.();
  }

  settle(): void {
    for (let i = 0; i < 10_000 && [...this.#lanes.values()].some((lane) => lane.length > 0); i++)
      this.step(i);
  }

  do(instance: string, action: (room: Room<string>) => Effect<string>[]): void {
    for (const effect of action(this.rooms.get(instance) as Room<string>)) this.#perform(instance, effect);
  }

  /** A room loses the others, and comes back; the others miss its sign of life. */
  cut(instance: string): void {
    this.do(instance, (room) => room.loseCluster(this.now));
    this.rooms.get(instance)?.connectCluster();
    for (const other of this.rooms.keys()) {
      const miss = () => this.do(other, (room) => room.loseInstance(instance, this.now));
      if (other !== instance) this.#later(`messages ${other}`, miss);
    }
  }

  #later(lane: string, task: Task): void {
    this.#lanes.set(lane, [...(this.#lanes.get(lane) ?? []), task]);
  }

  #perform(instance: string, effect: Effect<string>): void {
    const answer = (ask: () => (room: Room<string>) => Effect<string>[]) => {
      this.#later(`asks ${instance}`, () => {
        const reply = ask();
        this.#later(`answers ${instance}`, () => this.do(instance, reply));
      });
    };
    switch (effect.type) {
      case 'send':
        expect(this.closed, `something after the close of ${effect.to}`).not.toContain(effect.to);
        this.got.set(effect.to, [...(this.got.get(effect.to) ?? []), effect.frame]);
        break;
      case 'close':
        this.closed.add(effect.to);
        break;
      case 'tell':
        this.#later(`asks ${instance}`, () => {
          const envelope = { from: instance, message: effect.message };
          const luck = this.isBad ? randomInt(10) : 9;
          for (let i = 0; i < (luck === 0 ? 0 : luck === 1 ? 2 : 1); i++) {
            this.#later(`messages ${effect.instance}`, () =>
              this.do(effect.instance, (room) => room.receiveFromInstance(envelope, this.now)),
            );
          }
        });
        break;
      case 'claim':
        answer(() => {
          const isTaken = this.codes.has(effect.code);
          if (!isTaken) this.codes.set(effect.code, { state: 'open', instance, session: effect.session });
          return (room) => room.claimed(effect, isTaken ? 'taken' : 'claimed', this.now);
        });
        break;
      case 'burn':
        answer(() => {
          const value = this.codes.get(effect.code);
          const reply: BurnAnswer =
            value === undefined || value.state === 'over'
              ? { state: 'unknown' }
              : {
                  state: value.state === 'open' ? 'burnt' : 'used',
                  instance: value.instance === instance ? null : value.instance,
                  session: value.session,
                };
          if (value?.state === 'open') value.state = 'used';
          return (room) => room.burnt(effect, reply, this.now);
        });
        break;
      case 'rest':
        answer(() => {
          const value = this.codes.get(effect.code);
          if (value?.session === effect.session && value.state === 'open') value.state = 'over';
          return () => [];
        });
    }
  }
}

/** A room in a cluster with one client, and the request that follows from the client's frame. */
function askedBy(frame: ClientFrame) {
  const [randomCode, limits] = [() => 123_456, readLimits()];
  const room = new Room<string>({ limits, randomCode, randomId: randomUUID, isClustered: true });
  room.connectCluster();
  room.connect('client', 'address', 0);
  const [question] = room.receive('client', frame, 0);
  return { room, question };
}

it('a shutdown waits for a join that is under way', () => {
  const { room, question } = askedBy({ type: 'join', code: '123456' });
  room.drain();
  expect(room.isBusy).toBe(true);
  expect(question).toMatchObject({ type: 'burn' });
  if (question?.type === 'burn') room.burnt(question, { state: 'unknown' }, 0);
  expect(room.isBusy).toBe(false);
});

it('a shutdown waits for a post that is under way, so that no stored message is refused', () => {
  const { room, question } = askedBy({ type: 'post', box: 'b', body: '' });
  room.drain();
  expect(room.isBusy).toBe(true);
  expect(question).toMatchObject({ type: 'post' });
  if (question?.type === 'post') {
    expect(room.posted(question, 'stored', 0)).toContainEqual({ type: 'close', to: 'client' });
  }
  expect(room.isBusy).toBe(false);
});

it('a listener that finds no free code does not retire the codes of other instances', () => {
  let { room, question } = askedBy({ type: 'listen' });
  const asked = [];
  while (question?.type === 'claim') {
    asked.push(question.code);
    const effects = room.claimed(question, 'taken', 0);
    expect(effects.filter(({ type }) => type === 'rest')).toEqual([]);
    question = effects[0];
  }
  expect(asked).toHaveLength(16);
  expect(question).toMatchObject({ type: 'send', frame: { type: 'error', code: 'capacity' } });
});

const NAMES = ['a', 'b', 'c'];
const client = fc.nat(3);
const room = fc.constantFrom(...NAMES);
const step = fc.oneof(
  // Each is the first frame of a new client. Frames in a wrong state are for other tests.
  { weight: 4, arbitrary: fc.record({ do: fc.constant('listen' as const), client, room }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('join' as const), client, room, of: client }) },
  { weight: 30, arbitrary: fc.record({ do: fc.constant('msg' as const), client }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('bye' as const), client }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), client }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('cut' as const), room }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.nat(10_000) }) },
  { weight: 60, arbitrary: fc.record({ do: fc.constant('step' as const), which: fc.nat(20) }) },
);

it.each([false, true])('rooms that share codes, with messages lost and doubled: %s', (isBad) => {
  const reached = { peers: 0, messages: 0 };
  fc.assert(
    fc.property(fc.array(step, { minLength: 100, maxLength: 400, size: 'max' }), (steps) => {
      const world = new World(NAMES);
      world.isBad = isBad;
      const at = new Map<number, { name: string; room: string; sent: number }>();
      const codes = new Map<number, string>();
      let count = 0;
      const say = (number: number, frame: ClientFrame) => {
        const who = at.get(number);
        if (who !== undefined) world.do(who.room, (room) => room.receive(who.name, frame, world.now));
      };
      const leave = (number: number) => {
        const who = at.get(number);
        if (who === undefined) return;
        world.do(who.room, (room) => room.disconnect(who.name, world.now));
        world.closed.add(who.name);
        at.delete(number);
      };
      const come = (number: number, room: string) => {
        leave(number);
        const name = `${number}-${count++}`;
        at.set(number, { name, room, sent: 0 });
        codes.delete(number);
        world.do(room, (it) => it.connect(name, name, world.now));
      };
      for (const step of steps) {
        if (step.do === 'step') world.step(step.which);
        else if (step.do === 'listen') {
          come(step.client, step.room);
          say(step.client, { type: 'listen' });
        } else if (step.do === 'join') {
          const code = codes.get(step.of);
          if (code === undefined || step.of === step.client) continue;
          come(step.client, step.room);
          say(step.client, { type: 'join', code });
        } else if (step.do === 'msg') {
          const who = at.get(step.client);
          if (who !== undefined && world.got.get(who.name)?.some(({ type }) => type === 'peer')) {
            say(step.client, { type: 'msg', body: `${who.name} ${++who.sent}` });
          }
        } else if (step.do === 'bye') say(step.client, { type: 'bye' });
        else if (step.do === 'leave') leave(step.client);
        else if (step.do === 'cut') {
          world.cut(step.room);
        } else {
          world.now += step.ms;
          for (const room of NAMES) world.do(room, (it) => it.sweep(world.now));
        }
        for (const [number, { name }] of at) {
          const frame = world.got.get(name)?.find(({ type }) => type === 'listening');
          if (frame?.type === 'listening') codes.set(number, frame.code);
        }
      }
      world.settle();

      // Each client got the messages of one other client, in order and without a gap.
      const partners = new Map<string, string>();
      for (const [name, frames] of world.got) {
        const bodies = frames.flatMap((frame) => (frame.type === 'msg' ? [frame.body.split(' ')] : []));
        reached.messages += bodies.length;
        reached.peers += frames.filter(({ type }) => type === 'peer').length;
        const from = new Set(bodies.map(([who]) => who));
        expect(from.size).toBeLessThanOrEqual(1);
        expect(bodies.map(([, number]) => Number(number))).toEqual(bodies.map((_, i) => i + 1));
        expect(frames.filter(({ type }) => type === 'peer').length).toBeLessThanOrEqual(1);
        for (const who of from) partners.set(name, who as string);
      }
      for (const [name, partner] of partners) {
        expect(partners.get(partner) ?? name).toBe(name);
        if (!isBad) expect(world.closed.has(name), `${name} and ${partner}`).toBe(world.closed.has(partner));
      }

      // Nothing is left when all clients have gone, even if messages were lost.
      for (const number of [...at.keys()]) leave(number);
      world.settle();
      world.now += 700_000;
      for (const room of NAMES) world.do(room, (it) => it.sweep(world.now));
      world.settle();
      for (const room of world.rooms.values()) {
        expect(room.isBusy).toBe(false);
        expect(room.counts).toMatchObject({
          clients: 0,
          listening: 0,
          paired: 0,
          deadlines: 0,
          rememberedAddresses: 0,
        });
      }
    }),
    { numRuns: times(100, 300) },
  );
  expect(reached.messages).toBeGreaterThan(100); // or the test shows nothing
});
