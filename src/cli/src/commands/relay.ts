import { defineCommand } from 'citty';
import { ownAddresses } from '../addresses';
import { type Result, SHARED_ARGS } from '../command';
import { CommandError } from '../errors';
import { PORT_ARG, toPort } from '../port';

export const relay = defineCommand({
  meta: { name: 'relay', description: 'Runs a relay in the foreground, over which other machines pair' },
  args: {
    port: { ...PORT_ARG, description: `${PORT_ARG.description}, or PORT` },
    bind: {
      type: 'string',
      valueHint: 'address',
      description: 'The address to listen on; default HOST, then all',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    const port = toPort(args.port, toPort(process.env.PORT || undefined));
    const { main } = await import('@authmesh/relay');
    await main({
      ...process.env,
      PORT: String(port),
      ...(args.bind === undefined ? {} : { HOST: args.bind }),
    });
    // It has said why on stderr.
    if (process.exitCode) throw new CommandError('relay_not_started', 'The relay did not start.', '');
    const shown = port === 0 ? 'PORT' : port;
    return {
      json: { event: 'relay', port },
      notes: [
        ...ownAddresses().flatMap((address) => [
          `  On a machine that is to be called:   amesh listen --relay ws://${address}:${shown}/ws`,
        ]),
        '  It logs one line of JSON for each event, and keeps nothing. Ctrl+C lets sessions end, and ends it.',
      ],
    };
  },
});
