import type { HttpProxy } from './route';

/** A proxy did not open the way. Neither text holds the user name or the password of the proxy. */
export class ProxyError extends Error {
  /** The name of the class. */
  override readonly name = 'ProxyError';

  /**
   * An error of one proxy.
   *
   * @param message whose fault it is and what it is, one sentence
   * @param fix what to do about it
   */
  constructor(
    message: string,
    readonly fix: string,
  ) {
    super(message);
  }
}

/** Where a tunnel leads, `host:port`, and its host alone. */
export interface Destination {
  readonly authority: string;
  readonly host: string;
  readonly port: number;
}

/** An answer to CONNECT that is no success. */
export function explainAnswer(
  proxy: HttpProxy,
  { authority, host, port }: Destination,
  status: number,
  challenges: string,
): ProxyError {
  const { variable } = proxy;
  const who = named(proxy);
  const exempt = `If this machine reaches ${host} without a proxy, add ${host} to NO_PROXY.`;
  // tinyproxy answers 401 to a wrong password.
  if (status === 407 || status === 401) return explainLogin(proxy, status, challenges, exempt);
  if (status === 403 || status === 451) {
    const ports = port === 443 ? '' : ' Many proxies allow port 443 alone.';
    return new ProxyError(
      `${who} does not allow a connection to ${authority} (HTTP ${status}).${ports}`,
      `Ask its administrator to allow CONNECT to ${authority}. ${exempt}`,
    );
  }
  if (status >= 500 && status !== 501)
    return new ProxyError(
      `${who} does not reach ${authority} (HTTP ${status}).`,
      `Check that name and port. ${exempt}`,
    );
  return new ProxyError(
    `${who} opens no tunnel (HTTP ${status}): it may be a web server, and no proxy.`,
    `Check the host and the port in ${variable}. ${exempt}`,
  );
}

function explainLogin(proxy: HttpProxy, status: number, challenges: string, exempt: string): ProxyError {
  const { url, variable } = proxy;
  const schemes = challenges.match(/\b(?:Basic|Digest|NTLM|Negotiate|Kerberos|Bearer)\b/gi) ?? [];
  if (schemes.length > 0 && !schemes.some((scheme) => /^basic$/i.test(scheme))) {
    return new ProxyError(
      `${named(proxy)} asks for a login by ${[...new Set(schemes)].join(' or ')} (HTTP ${status}), and amesh knows Basic alone.`,
      `Run a local proxy that logs in there, such as px or cntlm, and name it in ${variable}. ${exempt}`,
    );
  }
  const hasLogin = url.username !== '' || url.password !== '';
  return new ProxyError(
    `${named(proxy)} ${hasLogin ? 'does not accept the user name and the password that stand there' : 'asks for a user name and a password'} (HTTP ${status}).`,
    `Set them, percent-encoded: ${variable}=${url.protocol}//USER:PASSWORD@${proxy.shown}. ${exempt}`,
  );
}

/** A proxy that gave no answer. */
export function explainSilence(proxy: HttpProxy, { host }: Destination, error: unknown): ProxyError {
  const { variable, url, shown } = proxy;
  const { code = '', message = '' } = error as { code?: string; message?: string };
  const exempt = `If this machine reaches ${host} without a proxy, add ${host} to NO_PROXY.`;
  if (/^HPE_/.test(code))
    return new ProxyError(
      `${named(proxy)} does not speak HTTP (${code}).`,
      `Check the scheme and the port in ${variable}: is it https://${shown}, or another kind of proxy? ${exempt}`,
    );
  if (url.protocol === 'https:' && /^(?:EPROTO|ERR_SSL_\w+)$/.test(code))
    return new ProxyError(`${named(proxy)} speaks no TLS.`, `Write ${variable}=http://${shown}. ${exempt}`);
  if (isCertificateError(code))
    return new ProxyError(
      `${named(proxy)} shows a certificate that this machine does not accept (${code}).`,
      'For a private authority: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem',
    );
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new ProxyError(
      `There is no address for the name of the proxy ${shown}, from ${variable} (${code}).`,
      `Check the name in ${variable}. ${exempt}`,
    );
  return new ProxyError(
    `${named(proxy)} does not answer (${code || message.slice(0, 100)}).`,
    `Check that it runs, and ${variable}; outside of its network unset ${variable}. ${exempt}`,
  );
}

/** A proxy that took the connection and says nothing more. */
export function explainPatience(proxy: HttpProxy, { host }: Destination, ms: number): ProxyError {
  return new ProxyError(
    `${named(proxy)} did not respond within ${ms / 1000} s.`,
    `Check that it runs, and the host and the port in ${proxy.variable}. If this machine reaches ${host} without a proxy, add ${host} to NO_PROXY.`,
  );
}

/** Whether a TLS connection failed by its certificate. Behind a proxy that is mostly one that looks into TLS. */
export function isCertificateError(code: string): boolean {
  return /^(?:UNABLE_TO_\w+|SELF_SIGNED_\w+|DEPTH_ZERO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/.test(
    code,
  );
}

function named({ shown, variable }: HttpProxy): string {
  return `The proxy ${shown}, from ${variable},`;
}
