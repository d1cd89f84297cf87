import { createAmesh } from '@authmesh/sdk';
import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { UsageError } from '../errors/errors';
import { Bridge } from '../mcp/bridge';
import { noteRefusal } from '../mcp/remote';
import { printable } from '../words/printable';
import { SUMMARIES } from './summaries';

export const mcp = defineCommand({
  meta: {
    name: 'mcp',
    description: SUMMARIES.mcp,
  },
  args: {
    url: {
      type: 'positional',
      required: true,
      valueHint: 'url',
      description: 'The MCP endpoint of a target in the allow list, such as https://tools.internal/mcp',
    },
    ...SHARED_ARGS,
  },

  async run({ args }): Promise<Result> {
    if (args.json) throw new UsageError('--json has no meaning here: stdout is for the messages of MCP.');
    const url = toEndpoint(args.url);
    const controller = new AbortController();
    const stop = () => controller.abort();
    process.on('SIGINT', stop);
    process.on('SIGTERM', stop);
    const tell = (line: string) => {
      if (!args.quiet) process.stderr.write(`amesh mcp: ${printable(line)}\n`);
    };
    try {
      await new Bridge({
        url,
        amesh: createAmesh({ onRefusal: noteRefusal }),
        input: process.stdin,
        output: process.stdout,
        tell,
        signal: controller.signal,
      }).run();
    } finally {
      process.off('SIGINT', stop);
      process.off('SIGTERM', stop);
    }
    return { json: {} };
  },
});

function toEndpoint(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new UsageError(`"${printable(text)}" is not the URL of an MCP server.`, {
      hint: 'It begins with https:// or http://, and has no user name or password.',
    });
  return url;
}
