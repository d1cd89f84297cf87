import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

// As the configuration of an agent would have it. There is no secret in it.
const configuration = {
  command: 'amesh',
  args: ['mcp', 'http://localhost:3000/mcp'],
  env: { AUTH_MESH_DIR: './client' },
};
const client = new Client({ name: 'example', version: '1.0.0' });
await client.connect(new StdioClientTransport(configuration));

const { tools } = await client.listTools();
console.log(tools.map(({ name }) => name).join(', '));
const { content } = await client.callTool({ name: 'report' });
console.log(content[0].text);
await client.close();
