import { once } from 'node:events';
import { connect, type NetConnectOpts } from 'node:net';

/** Whether something listens there. The connection is closed again before this is known: some serve one at a time. */
export async function answers(to: NetConnectOpts): Promise<boolean> {
  const socket = connect(to);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
