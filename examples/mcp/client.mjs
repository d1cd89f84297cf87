import { allowUnprovenBody, amesh } from '@authmesh/sdk';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

// Answers are proven. Of a stream of events only the head can be: this lets its body through.
const how = { answers: 'required', [allowUnprovenBody]: true };
const fetch = (url, init) => amesh.fetch(url, { ...init, ...how });
const transport = new StreamableHTTPClientTransport(new URL('http://localhost:3000/mcp'), { fetch });
const client = new Client({ name: 'example', version: '1.0.0' });
await client.connect(transport);

for (const name of ['read_ticket', 'close_ticket']) {
  const { content, isError = false } = await client.callTool({ name, arguments: { id: 7 } });
  console.log(name, isError, content[0].text);
}
await transport.terminateSession();
await client.close();
