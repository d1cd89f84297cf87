/** What the proxy has to know about the name of a header. */
export interface NameFacts {
  readonly lower: string;
  /** Whether it is a token without underscore: CGI, WSGI and others give `a-b` and `a_b` the same variable. */
  readonly isRight: boolean;
  /** Whether it belongs to one connection only (RFC 9110 section 7.6.1), or is for proxies. */
  readonly isHopByHop: boolean;
  /** Whether it decides what a request is. */
  readonly isDeciding: boolean;
  /**
   * Whether a server might take it for a header that this proxy sets. Some turn every character except letters and digits into the
   * same one.
   */
  readonly isOfProxy: boolean;
  /** Whether a server might take it for a header that says for whom a proxy in front has sent the request. */
  readonly isForwarded: boolean;
}

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const DECIDING =
  /^(?:host|content-.+|authorization|cookie|origin|range|if-.+|expect|signature.*|accept-signature|(?:x-)?authmesh-.*|forwarded|x-forwarded-.+|x-real-ip)$/;

const NAME = /^[!#$%&'*+.^`|~0-9A-Za-z-]+$/;

const OF_PROXY = /^(?:x-)?authmesh(?:-|$)/;

const FORWARDED =
  /^(?:forwarded(?:-.+)?|x-forwarded(?:-.+)?|x-real-ip|x-client-ip|x-cluster-client-ip|true-client-ip|cf-connecting-ip)$/;

/** How many names are remembered: programs send the same few names again and again, but a stranger may send any. */
const MOST_KNOWN = 1000;
const LONGEST_KNOWN = 64;

const known = new Map<string, NameFacts>();

/** The facts of a name, as it was sent. */
export function factsOf(sent: string): NameFacts {
  const found = known.get(sent);
  if (found !== undefined) return found;
  const facts = look(sent);
  if (sent.length > LONGEST_KNOWN) return facts;
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(sent, facts);
  return facts;
}

function look(sent: string): NameFacts {
  const lower = sent.toLowerCase();
  const asVariable = lower.replace(/[^a-z0-9]/g, '-');
  return {
    lower,
    isRight: NAME.test(sent),
    isHopByHop: HOP_BY_HOP.has(lower),
    isDeciding: DECIDING.test(lower),
    isOfProxy: OF_PROXY.test(asVariable),
    isForwarded: FORWARDED.test(asVariable),
  };
}
