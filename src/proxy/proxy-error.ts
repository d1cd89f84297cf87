import type { HttpProxy } from './route';

/** The error if a proxy failed to open a tunnel. Neither text contains the proxy's user name or password. */
export class ProxyError extends Error {
  /** The name of the class. */
  override readonly name = 'ProxyError';

  /**
   * Creates the error of one proxy.
   *
   * @param message what is wrong: one sentence
   * @param fix what to do about it
   */
  constructor(
    message: string,
    readonly fix: string,
  ) {
    super(message);
  }
}

/** The destination of a tunnel, `host:port`, and its host alone. */
export interface Destination {
  readonly authority: string;
  readonly host: string;
  readonly port: number;
}

/** Explains a response to CONNECT that is not a success. */
export function explainAnswer(
  proxy: HttpProxy,
  { authority, host, port }: Destination,
  status: number,
  challenges: string,
): ProxyError {
  const { variable } = proxy;
  const who = named(proxy);
  const exempt = `If this machine reaches ${host} without a proxy, add ${host} to NO_PROXY.`;
  // tinyproxy responds 401 to a wrong password.
  if (status === 407 || status === 401) return explainLogin(proxy, status, challenges, exempt);
  if (status === 403 || status === 451) {
    const ports = port === 443 ? '' : ' Many proxies allow only port 443.';
    return new ProxyError(
      `${who} does not allow a connection to ${authority} (HTTP ${status}).${ports}`,
      `Ask its administrator to allow CONNECT to ${authority}. ${exempt}`,
    );
  }
  if (status >= 500 && status !== 501)
    return new ProxyError(
      `${who} does not reach ${authority} (HTTP ${status}).`,
      `Check the name and port. ${exempt}`,
    );
  return new ProxyError(
    `${who} opens no tunnel (HTTP ${status}): it may be a web server, not a proxy.`,
    `Check the host and port in ${variable}. ${exempt}`,
  );
}

function explainLogin(proxy: HttpProxy, status: number, challenges: string, exempt: string): ProxyError {
  const { url, variable } = proxy;
  const schemes = challenges.match(/\b(?:Basic|Digest|NTLM|Negotiate|Kerberos|Bearer)\b/gi) ?? [];
  if (schemes.length > 0 && !schemes.some((scheme) => /^basic$/i.test(scheme))) {
    return new ProxyError(
      `${named(proxy)} asks for a login by ${[...new Set(schemes)].join(' or ')} (HTTP ${status}), but amesh supports only Basic.`,
      `Run a local proxy that logs in there, such as px or cntlm, and set ${variable} to it. ${exempt}`,
    );
  }
  const hasLogin = url.username !== '' || url.password !== '';
  return new ProxyError(
    `${named(proxy)} ${hasLogin ? 'does not accept this user name and password' : 'asks for a user name and password'} (HTTP ${status}).`,
    `Set them, percent-encoded: ${variable}=${url.protocol}//USER:PASSWORD@${proxy.shown}. ${exempt}`,
  );
}

/** Explains a proxy that did not respond. */
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
    return new ProxyError(
      `${named(proxy)} does not use TLS.`,
      `Write ${variable}=http://${shown}. ${exempt}`,
    );
  if (isCertificateError(code))
    return new ProxyError(
      `${named(proxy)} has a certificate that this machine does not accept (${code}).`,
      'For a private CA: export NODE_EXTRA_CA_CERTS=/path/to/ca.pem',
    );
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return new ProxyError(
      `The name of the proxy ${shown}, from ${variable}, has no address (${code}).`,
      `Check the name in ${variable}. ${exempt}`,
    );
  return new ProxyError(
    `${named(proxy)} does not respond (${code || message.slice(0, 100)}).`,
    `Check that it is running, and that ${variable} is right; outside its network, unset ${variable}. ${exempt}`,
  );
}

/** Explains a proxy that accepted the connection but did not respond. */
export function explainPatience(proxy: HttpProxy, { host }: Destination, ms: number): ProxyError {
  return new ProxyError(
    `${named(proxy)} did not respond within ${ms / 1000} s.`,
    `Check that it is running, and that the host and port in ${proxy.variable} are right. If this machine reaches ${host} without a proxy, add ${host} to NO_PROXY.`,
  );
}

/** Whether a TLS connection failed because of its certificate. Behind a proxy, the usual cause is that the proxy intercepts TLS. */
export function isCertificateError(code: string): boolean {
  return /^(?:UNABLE_TO_\w+|SELF_SIGNED_\w+|DEPTH_ZERO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/.test(
    code,
  );
}

function named({ shown, variable }: HttpProxy): string {
  return `The proxy ${shown}, from ${variable},`;
}
