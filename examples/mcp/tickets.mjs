import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { z } from 'zod';

const text = (message) => ({ content: [{ type: 'text', text: message }] });

/** What all sessions of a server share. */
export const newTickets = () => new Map([[7, { title: 'The kettle is cold', isOpen: true }]]);

/** The tools of one session. Each says which scope its caller needs. */
export function createTools(tickets, hasScope) {
  const server = new McpServer({ name: 'tickets', version: '1.0.0' });
  const tool = (name, scope, config, run) =>
    server.registerTool(name, config, (args, extra) =>
      // Looked up at each call: `amesh allow` and `amesh deny` count at once, in the middle of a session.
      hasScope(extra.authInfo.extra, scope)
        ? run(args, extra)
        : { ...text(`The tool ${name} needs the scope ${scope}.`), isError: true },
    );
  const inputSchema = { id: z.number() };

  tool(
    'read_ticket',
    'tickets:read',
    { description: 'Reads a ticket', inputSchema },
    ({ id }, { authInfo }) => {
      const { title, isOpen } = tickets.get(id) ?? { title: 'No such ticket', isOpen: false };
      return text(`${title} (${isOpen ? 'open' : 'closed'}), for ${authInfo.extra.authMesh.friendlyName}`);
    },
  );
  tool('close_ticket', 'tickets:write', { description: 'Closes a ticket', inputSchema }, ({ id }) => {
    const ticket = tickets.get(id);
    if (ticket !== undefined) ticket.isOpen = false;
    return text('closed');
  });
  tool(
    'report',
    'tickets:read',
    { description: 'Reports step by step', inputSchema: {} },
    async (_args, extra) => {
      const { progressToken } = extra._meta ?? {};
      for (let progress = 1; progress <= 3 && progressToken !== undefined; progress++) {
        const params = { progressToken, progress, total: 3 };
        await extra.sendNotification({ method: 'notifications/progress', params });
      }
      return text(`${tickets.size} ticket`);
    },
  );
  return server;
}
