import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAmesh } from '@authmesh/sdk';
import { isLoopback, normalizeAuthority } from '@authmesh/sdk/core';
import { defineCommand } from 'citty';
import { valuesOf } from '../command-line/arguments';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { unreadable } from '../errors/files';
import { asUsage } from '../machine/as-usage';
import { toHosts } from '../machine/machine';
import type { Certificate } from '../proxy/front';
import { Inward } from '../proxy/inward';
import { Journal } from '../proxy/journal';
import { assertListed, Outward } from '../proxy/outward';
import { isLocal, toListenPlace, toMode, toServerPlace } from '../proxy/place';
import { type RunOptions, runProxy } from '../proxy/run-proxy';
import { type Place, Server } from '../proxy/server';
import { Spool } from '../proxy/spool';
import { createTransport } from '../proxy/transport';
import { type OutputOptions, printNotes } from '../terminal/output';
import { toBytes } from '../words/bytes';
import { durationFlag, toSeconds } from '../words/duration';
import { SUMMARIES } from './summaries';

const TIMEOUTS = { least: 1, most: 600 };
const GRACES = { least: 1, most: 86_400 };

/** Flags that belong to only one of the two directions. */
const ONLY = {
  to: ['allow-other-machines', 'host', 'answers', 'allow-unproven-bodies'],
  protect: ['require', 'enroll', 'cert', 'key', 'trust-forwarded'],
} as const;

export const proxy = defineCommand({
  meta: {
    name: 'proxy',
    description: SUMMARIES.proxy,
  },
  args: {
    to: {
      type: 'string',
      valueHint: 'url',
      description: 'Sign incoming requests, and send them to this target, such as https://orders.internal',
    },
    protect: {
      type: 'string',
      valueHint: 'url',
      description:
        'Verify incoming requests, and pass them on to this server, such as http://127.0.0.1:8000 or unix:/run/app.sock',
    },
    listen: {
      type: 'string',
      required: true,
      valueHint: 'address',
      description: 'HOST:PORT, :PORT for all addresses, or the path of a Unix socket',
    },
    mode: { type: 'string', valueHint: 'octal', description: 'The mode of that socket; default 0600' },
    'allow-other-machines': {
      type: 'boolean',
      description:
        'With --to: listen on an address that other machines can reach. Each of them can then call the target as this machine',
    },
    host: {
      type: 'string',
      valueHint: 'a,b',
      description:
        'With --to: more hosts by which programs call this proxy, such as the name of its container',
    },
    answers: {
      type: 'enum',
      options: ['auto', 'required', 'off'],
      description: 'With --to: which responses have to be proven; default auto, those over plain http',
    },
    'allow-unproven-bodies': {
      type: 'boolean',
      description:
        'With --to: pass on bodies of which the target has signed only the head, such as events and files over 1 MiB',
    },
    require: {
      type: 'string',
      valueHint: 'scope...',
      description:
        'With --protect: the scope that a caller needs; may be given several times, for all of them',
    },
    enroll: {
      type: 'boolean',
      description: 'With --protect: let callers that have a grant enrol themselves',
    },
    cert: {
      type: 'string',
      valueHint: 'file',
      description: 'With --protect: serve TLS, and HTTP/2, with this certificate and its chain, PEM',
    },
    key: { type: 'string', valueHint: 'file', description: 'The private key of --cert, PEM' },
    'trust-forwarded': {
      type: 'boolean',
      description: 'With --protect: keep X-Forwarded-* and Forwarded, since a proxy in front sets them',
    },
    stream: {
      type: 'boolean',
      description:
        'Pass a large body on while it arrives. With --protect, the server then sees bytes that are not verified yet: it must undo its work if a body ends early. With --to, this needs a client that sends Content-Digest',
    },
    'max-body': { type: 'string', valueHint: 'size', description: 'The largest body; default 1GiB' },
    'max-spool': {
      type: 'string',
      valueHint: 'size',
      description: 'All bodies over 1 MiB together, which wait in files; default 4GiB',
    },
    spool: { type: 'string', valueHint: 'dir', description: 'The folder of these files, of this user alone' },
    timeout: durationFlag('How long to wait for a response to begin', TIMEOUTS, '60s'),
    grace: durationFlag('How long to wait for open requests when the proxy ends', GRACES, '30s'),
    health: {
      type: 'string',
      valueHint: 'address',
      description: 'Another HOST:PORT, which serves GET /health',
    },
    ...SHARED_ARGS,
  },

  async run({ args, rawArgs, cmd, data }): Promise<Result> {
    const flags = args as Flags;
    const direction = directionOf(flags);
    const place = toServerPlace(flags[direction] as string, `--${direction}`);
    const output = data as OutputOptions;
    const journal = new Journal(output.json ? { json: process.stdout } : { failures: process.stderr });
    const options = listenOptions(flags, direction, journal);
    const server = new Server(place, toSeconds(flags.timeout ?? '60s', '--timeout', TIMEOUTS) * 1000);
    const parts = { flags, server, spool: openSpool(flags), journal, env: process.env };
    const handler =
      direction === 'to'
        ? await outward(parts, options)
        : await inward(parts, valuesOf({ rawArgs, cmd }, 'require'));
    const tell = (notes: string[]) => {
      if (!output.quiet) printNotes(notes, output);
    };
    try {
      await runProxy(handler, {
        ...options,
        onListening: (address) => tell(listeningNotes(direction, address, place)),
        onEnding: () => tell(['  Waits for open requests. Ctrl+C again closes them.']),
      });
    } finally {
      server.close();
    }
    return { json: journal.counts };
  },
});

interface Flags {
  readonly [name: string]: unknown;
  readonly listen: string;
  readonly mode?: string;
  readonly host?: string;
  readonly answers?: 'auto' | 'required' | 'off';
  readonly cert?: string;
  readonly key?: string;
  readonly spool?: string;
  readonly timeout?: string;
  readonly grace?: string;
  readonly health?: string;
  readonly 'max-body'?: string;
  readonly 'max-spool'?: string;
}

type Direction = keyof typeof ONLY;

function directionOf(flags: Flags): Direction {
  const given = (name: string) => flags[name] !== undefined && flags[name] !== false;
  if (given('to') === given('protect'))
    throw new UsageError('Give either --to or --protect.', {
      hint: '--to signs requests to a target; --protect verifies requests to a server.',
    });
  const direction = given('to') ? 'to' : 'protect';
  const other = direction === 'to' ? 'protect' : 'to';
  const wrong = ONLY[other].find(given);
  if (wrong !== undefined) throw new UsageError(`--${wrong} is for --${other}.`);
  return direction;
}

type Listening = Omit<RunOptions, 'onListening' | 'onEnding'>;

function listenOptions(flags: Flags, direction: Direction, journal: Journal): Listening {
  const place = toListenPlace(flags.listen, '--listen');
  if (flags.mode !== undefined && place.kind !== 'socket')
    throw new UsageError('--mode is for a Unix socket.', { hint: 'Give --listen the path of one.' });
  const isOpen = flags['allow-other-machines'] === true;
  if (direction === 'to' && !isLocal(place) && !isOpen)
    throw new UsageError('--listen is an address that other machines can reach.', {
      hint: 'Each of them could call the target as this machine. For this machine alone: --listen 127.0.0.1:PORT. If you mean it: --allow-other-machines',
    });
  const health = flags.health === undefined ? undefined : toListenPlace(flags.health, '--health');
  return {
    place,
    mode: toMode(flags.mode ?? '0600'),
    certificate: readCertificate(flags),
    health,
    graceMs: toSeconds(flags.grace ?? '30s', '--grace', GRACES) * 1000,
    journal,
  };
}

function readCertificate({ cert, key }: Flags): Certificate | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError('--cert and --key go together.');
  const read = (flag: string, path: string) => {
    try {
      return readFileSync(path);
    } catch (error) {
      throw unreadable(flag, error as Error);
    }
  };
  return { cert: read('--cert', cert), key: read('--key', key) };
}

function maxBodyOf(flags: Flags): number {
  return toBytes(flags['max-body'] ?? '1GiB', '--max-body');
}

function openSpool(flags: Flags): Spool {
  const dir = flags.spool ?? join(tmpdir(), `amesh-proxy-${process.geteuid?.() ?? 'user'}`);
  return Spool.open(dir, {
    maxBodyBytes: maxBodyOf(flags),
    maxTotalBytes: toBytes(flags['max-spool'] ?? '4GiB', '--max-spool'),
  });
}

interface Parts {
  readonly flags: Flags;
  readonly server: Server;
  readonly spool: Spool;
  readonly journal: Journal;
  readonly env: NodeJS.ProcessEnv;
}

async function outward(
  { flags, server, spool, journal, env }: Parts,
  { place }: Listening,
): Promise<Outward> {
  if (server.place.socketPath !== undefined)
    throw new UsageError('--to must be a URL without path and user, such as https://orders.internal.');
  const { answers = 'auto' } = flags;
  const amesh = createAmesh({ env, answers, fetch: createTransport(server) });
  await assertListed(amesh, server.place.url, env);
  return new Outward({
    amesh,
    server,
    spool,
    journal,
    place,
    hosts: toHosts(flags.host ?? '', '--host'),
    answers,
    allowsUnprovenBodies: flags['allow-unproven-bodies'] === true,
    isStreaming: flags.stream === true,
  });
}

async function inward(
  { flags, server, spool, journal, env }: Parts,
  scopes: readonly string[],
): Promise<Inward> {
  const amesh = createAmesh({
    env,
    onRefusal: ({ code, status, detail }) => journal.refused({ status, code, message: detail }),
  });
  if (!env.AMESH_OWNER_KEY && !env.AMESH_BOOTSTRAP_TOKEN) await asUsage(amesh.identity()); // reports immediately what is missing
  try {
    return new Inward({
      amesh,
      server,
      spool,
      journal,
      maxBodyBytes: maxBodyOf(flags),
      isStreaming: flags.stream === true,
      trustsForwarded: flags['trust-forwarded'] === true,
      verify: {
        enroll: flags.enroll === true,
        ...(scopes.length > 0 && { require: scopes.flatMap((text) => text.split(',')) }),
      },
    });
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(error.message) : error;
  }
}

function listeningNotes(direction: Direction, address: string, { shown, url, socketPath }: Place): string[] {
  if (direction === 'to') return [`✓ Signs the requests to ${address}, and sends them to ${shown}`];
  const isNear =
    socketPath !== undefined || url.protocol === 'https:' || isLoopback(normalizeAuthority(url.host) ?? '');
  const notes = [`✓ Verifies the requests to ${address}, and passes them on to ${shown}`];
  return isNear
    ? notes
    : [...notes, `! Programs that reach ${shown} directly need no signature: let only this proxy reach it.`];
}
