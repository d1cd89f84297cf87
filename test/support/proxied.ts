import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { type Amesh, createAmesh } from '@authmesh/sdk';
import { addDevice, openDevice } from '@authmesh/sdk/admin';
import type { Signer } from '@authmesh/sdk/core';
import { type Machine, useMachines } from '../cli/amesh';
import { createCertificate } from './certificate';
import { Command, type CommandOptions } from './command';

/** A request as the server behind a proxy has seen it. */
export interface Seen {
  readonly method: string;
  readonly target: string;
  /** Names and values in turn. */
  readonly lines: readonly string[];
  body: string;
}

/** The values of a header that a server behind a proxy has seen. */
export function linesOf({ lines }: Seen, name: string): string[] {
  return lines.filter((_, i) => i % 2 === 1 && lines[i - 1]?.toLowerCase() === name.toLowerCase());
}

/** A server that remembers what it is asked, and answers with it. */
export class Backend {
  readonly seen: Seen[] = [];
  readonly server: Server;
  port = 0;

  constructor(answer?: Parameters<typeof createServer>[1]) {
    this.server = createServer(
      { maxHeaderSize: 65_536 },
      answer ??
        ((request, response) => {
          const seen = this.note(request);
          request.on('data', (chunk) => {
            seen.body += chunk;
          });
          request.on('end', () => response.end(JSON.stringify(seen)));
        }),
    );
  }

  note({ method = '', url = '', rawHeaders }: IncomingMessage): Seen {
    const seen = { method, target: url, lines: rawHeaders, body: '' };
    this.seen.push(seen);
    return seen;
  }

  async listen(): Promise<this> {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
  }
}

/** A proxy that runs. */
export class RunningProxy {
  readonly command: Command;
  port = 0;
  /** The path of its socket, if it listens on one. */
  path = '';

  constructor(machine: Machine, args: readonly string[], options: CommandOptions = {}) {
    this.command = new Command(machine, ['proxy', ...args, '--json'], options);
  }

  async start(): Promise<this> {
    const address = await this.command.until(/"event":"listening","address":"([^"]+)"/);
    const [, port] = /:(\d+)$/.exec(address) ?? [];
    if (port === undefined) this.path = address;
    else this.port = Number(port);
    return this;
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Ends it, and waits for that. @returns its exit code */
  async end(): Promise<number | null> {
    this.command.kill('SIGTERM');
    return this.command.ended;
  }

  /** What it has logged with this event. */
  events(name: string): Record<string, unknown>[] {
    return this.command.objects.filter(({ event }) => event === name);
  }
}

/** A machine that calls, and one that is called through `amesh proxy --protect`. */
export interface Proxied {
  readonly caller: Machine;
  readonly target: Machine;
  readonly callerId: string;
  /** The caller's key, for requests that no client would send. */
  readonly signer: Signer;
  readonly amesh: Amesh;
  /** The caller's instance with other options. */
  callerWith(options: Parameters<typeof createAmesh>[0]): Amesh;
  /** Starts `amesh proxy --protect`, which the caller then knows as the target. */
  protect(origin: string, args?: readonly string[], options?: CommandOptions): Promise<RunningProxy>;
  /** Starts `amesh proxy --to`. */
  to(origin: string, args?: readonly string[], options?: CommandOptions): Promise<RunningProxy>;
  /** A certificate for 127.0.0.1, as files and as text. */
  certificate(): Promise<{ readonly cert: string; readonly args: readonly string[] }>;
  /** Tells the caller that the target is at this host. */
  know(host: string): Promise<void>;
  /** Has the target trust the caller, also after it was revoked. */
  trust(): Promise<void>;
  /** A folder of its own for large bodies. */
  spool(): string;
}

/** @returns makes two machines, the second of which trusts the first */
export function useProxied(): () => Promise<Proxied> {
  const createMachine = useMachines();
  return async () => {
    const caller = await createMachine('laptop');
    const target = await createMachine('orders-api');
    const device = await openDevice(caller.dir, {});
    const own = await openDevice(target.dir, {});
    const { deviceId, publicKey, friendlyName } = device.identity;
    const trust = async () => {
      await own.trust.update((list) =>
        addDevice(list, { deviceId, publicKey, friendlyName, role: 'controller', hosts: [] }, 0),
      );
    };
    await trust();
    const know = async (host: string) => {
      const { identity } = own;
      await device.trust.update((list) =>
        addDevice(
          list,
          {
            deviceId: identity.deviceId,
            publicKey: identity.publicKey,
            friendlyName: identity.friendlyName,
            role: 'target',
            hosts: [host],
          },
          0,
        ),
      );
    };
    let spools = 0;
    const spool = () => join(dirname(caller.dir), `spool-${spools++}`);
    const callerWith = (options = {}) => createAmesh({ dir: caller.dir, env: {}, ...options });
    return {
      caller,
      target,
      callerId: deviceId,
      signer: device.signer,
      amesh: callerWith(),
      callerWith,
      spool,
      know,
      trust,
      async protect(origin, args = [], options = {}) {
        const own = args.includes('--spool') ? [] : ['--spool', spool()];
        const all = ['--protect', origin, '--listen', '127.0.0.1:0', ...own, ...args];
        const running = await new RunningProxy(target, all, options).start();
        await know(`127.0.0.1:${running.port}`);
        return running;
      },
      async to(origin, args = [], options = {}) {
        const listen = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
        const own = args.includes('--spool') ? [] : ['--spool', spool()];
        return new RunningProxy(caller, ['--to', origin, ...listen, ...own, ...args], options).start();
      },
      async certificate() {
        const { cert, key } = createCertificate('localhost');
        const [certFile, keyFile] = ['cert', 'key'].map((name) => join(dirname(target.dir), `${name}.pem`));
        await writeFile(certFile as string, cert);
        await writeFile(keyFile as string, key);
        return { cert, args: ['--cert', certFile as string, '--key', keyFile as string] };
      },
    };
  };
}
