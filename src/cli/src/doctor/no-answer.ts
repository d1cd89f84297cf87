import { connect } from 'node:tls';
import { ProxyError } from '@authmesh/sdk/admin';
import { here } from '../words/here';
import { shellWord } from '../words/shell';
import { proxyTo, tunnelTo } from './fetch';
import { type Finding, failed } from './finding';

const PROBE_MS = 1500;

/** What a TLS client is told by a server that speaks no TLS. */
const NO_TLS = /^(?:EPROTO|ERR_SSL_\w+|ERR_TLS_HANDSHAKE\w*)$/;

const CERTIFICATE =
  /^(?:UNABLE_TO_\w+|SELF_SIGNED_\w+|DEPTH_ZERO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/;

/**
 * Why a server gave no answer at all, as far as it can be told apart.
 *
 * @param shown the URL as it may be printed
 * @param error what `fetch` has thrown
 */
export async function noAnswer(url: URL, shown: string, error: unknown): Promise<Finding> {
  if (error instanceof ProxyError) return failed(error.message, error.fix);
  const { message, cause } = error as Error & { cause?: { code?: string; message?: string } };
  const code = cause?.code ?? '';
  if (url.protocol === 'https:' && NO_TLS.test(code))
    return otherScheme(url, `${shown} speaks no TLS: it is a server of plain http.`, 'http:');
  if (CERTIFICATE.test(code)) {
    return failed(
      `${shown} shows a certificate that this machine does not accept: ${code}.`,
      code === 'ERR_TLS_CERT_ALTNAME_INVALID'
        ? 'Call the server by a name that its certificate holds.'
        : `For a private authority${proxyTo(url) === null ? '' : ', or where the proxy looks into TLS'}: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem`,
    );
  }
  if (url.protocol === 'http:' && code !== 'ECONNREFUSED' && code !== 'ENOTFOUND' && (await speaksTls(url)))
    return otherScheme(url, `${shown} expects TLS.`, 'https:');
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return failed(`There is no address for the name ${url.hostname} (${code}).`, 'Check the name, and DNS.');
  return failed(
    `${shown} does not answer: ${code || cause?.message || message}.`,
    'Check that the server runs, and the address.',
  );
}

/** The finding for a port that speaks the other scheme. */
export function otherScheme({ host, pathname }: URL, message: string, scheme: 'http:' | 'https:'): Finding {
  return failed(message, here(`amesh doctor ${shellWord(`${scheme}//${host}${pathname}`)}`));
}

/** Whether a TLS handshake succeeds there, whatever the certificate. */
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
