import { connect } from 'node:tls';
import { ProxyError } from '@authmesh/sdk/admin';
import { here } from '../words/here';
import { shellWord } from '../words/shell';
import { proxyTo, tunnelTo } from './fetch';
import { type Finding, failed } from './finding';

const PROBE_MS = 1500;

/** Error codes of a TLS client if the server does not use TLS. */
const NO_TLS = /^(?:EPROTO|ERR_SSL_\w+|ERR_TLS_HANDSHAKE\w*)$/;

const CERTIFICATE =
  /^(?:UNABLE_TO_\w+|SELF_SIGNED_\w+|DEPTH_ZERO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/;

/**
 * Finds out why a server did not respond.
 *
 * @param shown the printable URL
 * @param error the error of `fetch`
 */
export async function noAnswer(url: URL, shown: string, error: unknown): Promise<Finding> {
  if (error instanceof ProxyError) return failed(error.message, error.fix);
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  // Such as too many redirects: then somebody did respond.
  if (cause === undefined && message !== 'fetch failed')
    return failed(message, 'Use the URL to which it leads, or correct the server.');
  if (cause?.message === 'bad port')
    return failed(
      `${shown} does not respond: fetch never calls port ${url.port}.`,
      'The port belongs to another protocol: let the server listen on another one.',
    );
  const code = cause?.code ?? '';
  if (url.protocol === 'https:' && NO_TLS.test(code))
    return otherScheme(url, `${shown} does not use TLS: it is a plain http server.`, 'http:');
  if (CERTIFICATE.test(code)) {
    return failed(
      `${shown} has a certificate that this machine does not accept: ${code}.`,
      code === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? 'Call the server by a name in its certificate.'
        : `For a private CA${proxyTo(url) === null ? '' : ', or a proxy that intercepts TLS'}: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem`,
    );
  }
  if (url.protocol === 'http:' && code !== 'ECONNREFUSED' && code !== 'ENOTFOUND' && (await speaksTls(url)))
    return otherScheme(url, `${shown} expects TLS.`, 'https:');
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return failed(`The name ${url.hostname} has no address (${code}).`, 'Check the name, and DNS.');
  if (code.startsWith('HPE_'))
    return failed(`${shown} does not speak HTTP: ${code}.`, 'Check the port: something else listens there.');
  return failed(
    `${shown} does not respond: ${code || cause?.message || message}.`,
    'Check that the server is running, and that the address is right.',
  );
}

/** The finding for a port that uses the other scheme. */
export function otherScheme({ host, pathname }: URL, message: string, scheme: 'http:' | 'https:'): Finding {
  return failed(message, here(`amesh doctor ${shellWord(`${scheme}//${host}${pathname}`)}`));
}

/** Whether a TLS handshake succeeds, with any certificate. */
export async function speaksTls(url: URL): Promise<boolean> {
  const { hostname, port } = url;
  const proxy = proxyTo(url);
  const tunnel = proxy === null ? undefined : await tunnelTo(proxy, url).catch(() => null);
  if (tunnel === null) return false;
  return new Promise((resolve) => {
    const host = hostname.replace(/^\[|\]$/g, '');
    const way = tunnel === undefined ? {} : { socket: tunnel };
    const socket = connect({ host, port: Number(port || 80), rejectUnauthorized: false, ...way });
    const conclude = (speaks: boolean) => {
      socket.destroy();
      resolve(speaks);
    };
    socket.setTimeout(PROBE_MS, () => conclude(false));
    socket.once('secureConnect', () => conclude(true));
    socket.once('error', () => conclude(false));
  });
}
