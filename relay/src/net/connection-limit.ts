import type { Socket } from 'node:net';
import { toLimitKey } from '../limits/address';
import { AddressCount } from '../limits/address-count';
import type { FairShare } from '../limits/fair-share';
import type { Limits } from '../limits/limits';
import { createClientAddress, createProxyTest, type TrustedProxies } from './client-address';

/** Admits a new connection, or destroys it. */
export type ConnectionLimit = (connection: Socket) => void;

/**
 * Limits the connections of one address and one network. Most connections become WebSockets immediately; those that never
 * do must not lock out other clients.
 *
 * @param share the places of connections that do not come through a trusted proxy
 */
export function createConnectionLimit(
  trustedProxies: TrustedProxies | undefined,
  limits: Limits,
  share: FairShare<Socket>,
): ConnectionLimit {
  const clientAddress = createClientAddress(trustedProxies);
  const isProxy = createProxyTest(trustedProxies);
  const connections = new AddressCount();
  // Twice the limit of sockets, so that a client beyond that limit learns the reason.
  const perAddress = 2 * limits.socketsPerAddress;
  return (connection) => {
    if (isProxy(connection)) return;
    const address = toLimitKey(clientAddress({ socket: connection, headers: {} }));
    if (connections.of(address) >= perAddress || share.makeSpace(address) !== undefined) {
      connection.destroy();
      return;
    }
    share.add(connection, address);
    connections.add(address);
    connection.on('close', () => {
      share.remove(connection);
      connections.remove(address);
    });
  };
}
