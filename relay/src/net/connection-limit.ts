import type { Socket } from 'node:net';
import { toLimitKey } from '../limits/address';
import { AddressCount } from '../limits/address-count';
import type { Share } from '../limits/fair-share';
import type { Limits } from '../limits/limits';
import { createClientAddress, createProxyTest, type TrustedProxies } from './client-address';

/** Lets a connection in, or destroys it. */
export type Gate = (connection: Socket) => void;

/**
 * Most that connect become sockets at once. Those of one address, or of one network, that never do must not shut out all
 * others.
 *
 * @param share the places of connections that come over no proxy
 */
export function createGate(
  trustedProxies: TrustedProxies | undefined,
  limits: Limits,
  share: Share<Socket>,
): Gate {
  const clientAddress = createClientAddress(trustedProxies);
  const isProxy = createProxyTest(trustedProxies);
  const connections = new AddressCount();
  return (connection) => {
    if (isProxy(connection)) return;
    const address = toLimitKey(clientAddress({ socket: connection, headers: {} }));
    // As many again as may stay, so that those too many are told why.
    if (connections.of(address) >= 2 * limits.socketsPerAddress) {
      connection.destroy();
      return;
    }
    if (share.makeRoom(address) !== undefined) {
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
