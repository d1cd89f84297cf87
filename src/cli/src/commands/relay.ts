import type { AddressInfo } from 'node:net';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { CommandError, UsageError } from '../errors/errors';
import { loadRelay } from '../machine/load';
import { ownAddresses } from '../relay/addresses';
import { PORT_ARG, toPort } from '../relay/port';
import { relayFlag } from '../relay/relay-choice';
import { portUnavailable } from '../relay/serve-relay';
import { SUMMARIES } from './summaries';

export const relay = defineCommand({
  meta: { name: 'relay', description: SUMMARIES.relay },
  args: {
    port: { ...PORT_ARG, description: `${PORT_ARG.description}, or PORT` },
    bind: {
      type: 'string',
      valueHint: 'address',
      description: 'The address to listen on; default HOST, or all',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const { startRelay } = await loadRelay();
    const listening = await startRelay({
      ...process.env,
      ...(args.port === undefined ? {} : { PORT: String(toPort(args.port)) }),
      ...(args.bind === undefined ? {} : { HOST: args.bind }),
    }).catch((error: Error & { readonly variable?: string; readonly wrong?: string }) => {
      if (error.variable === 'HOST' && args.bind !== undefined) throw new UsageError(`--bind ${error.wrong}`);
      throw notStarted(error);
    });
    const { address, port } = listening;
    return {
      json: { event: 'relay', address, port },
      notes: [
        ...hostsOf(listening).map(
          (host) =>
            `  On a machine that receives requests:   amesh listen${relayFlag(`ws://${host}:${port}/ws`)}`,
        ),
        '  It logs one line of JSON per event, and stores nothing. Ctrl+C waits for sessions to end, then stops the relay.',
      ],
    };
  },
});

/** The addresses under which others reach this server. */
function hostsOf({ address, family }: AddressInfo): string[] {
  if (address === '::' || address === '0.0.0.0') return ownAddresses();
  return [family === 'IPv6' ? `[${address}]` : address];
}

function notStarted(error: NodeJS.ErrnoException): Error {
  if (error instanceof TypeError) return new UsageError(error.message);
  if (error.syscall === 'listen') return portUnavailable(error);
  return new CommandError('relay_not_started', `The relay did not start. ${error.message}`, '');
}
