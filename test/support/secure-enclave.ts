import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Speaks the protocol of helper.swift with a key in software. The file `enclave` says which Mac this is; `behave.cjs` may
 * answer in the place of it, and counts what was asked.
 */
const HELPER = (place: string) => `#!${process.execPath}
const { createPrivateKey, createPublicKey, generateKeyPairSync, sign } = require('node:crypto');
const { appendFileSync, existsSync, readFileSync } = require('node:fs');
const place = ${JSON.stringify(place)};
const enclave = existsSync(place + '/enclave') ? readFileSync(place + '/enclave', 'utf8') : undefined;
const behave = existsSync(place + '/behave.cjs') ? require(place + '/behave.cjs') : (words, honest) => honest();
appendFileSync(place + '/started', JSON.stringify([process.argv.slice(2), process.env]) + '\\n');
const pointOf = (key) => {
  const { x, y } = createPublicKey(key).export({ format: 'jwk' });
  return Buffer.concat([Buffer.of(2 + (Buffer.from(y, 'base64url')[31] & 1)), Buffer.from(x, 'base64url')]);
};
const text = (...values) => 'ok ' + values.map((value) => value.toString('base64')).join(' ') + '\\n';
let key;
function honest([name, value = '']) {
  if (enclave === undefined) return 'error no-enclave\\n';
  const bytes = Buffer.from(value, 'base64');
  if (name === 'create') {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const jwk = privateKey.export({ format: 'jwk' });
    return text(Buffer.from(JSON.stringify({ enclave, jwk })), pointOf(privateKey));
  }
  if (name === 'open') {
    const found = JSON.parse(bytes.toString());
    if (found.enclave !== enclave) return 'error foreign-key\\n';
    key = createPrivateKey({ key: found.jwk, format: 'jwk' });
    return text(pointOf(key));
  }
  if (name !== 'sign' || key === undefined) return 'error request\\n';
  return text(sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }));
}
let pending = '';
process.stdin.setEncoding('latin1').on('data', (chunk) => {
  pending += chunk;
  for (let end = pending.indexOf('\\n'); end !== -1; end = pending.indexOf('\\n')) {
    const words = pending.slice(0, end).split(' ');
    pending = pending.slice(end + 1);
    const answer = behave(words, () => honest(words));
    if (answer !== undefined) process.stdout.write(answer);
  }
});
`;

/** A Mac as far as the backend sees one: two tools in the PATH, and what swiftc makes. */
export interface StandInMac {
  /** In which its tools are found. */
  readonly env: Readonly<Record<string, string>>;
  /** What the helpers got when they started: arguments and environment. */
  started(): [string[], Record<string, string>][];
  /** Which Mac it is; null for one without a Secure Enclave. */
  setEnclave(name: string | null): void;
  /** A JavaScript function `(words, honest) => text`, in the place of the helper; null for an honest one. */
  setBehaviour(code: string | null): void;
  /** A shell script in the place of a tool; null for none. */
  setTool(name: 'swiftc' | 'xcode-select', script: string | null): void;
  /** Its tools work again, and its helper is honest. */
  reset(): void;
  remove(): void;
}

/** @returns a stand-in whose tools work and whose helper is honest */
export function makeMac(): StandInMac {
  const place = mkdtempSync(join(tmpdir(), 'amesh-mac-'));
  const bin = join(place, 'bin');
  mkdirSync(bin);
  const write = (path: string, text: string | null) => {
    rmSync(path, { force: true });
    if (text === null) return;
    writeFileSync(path, text);
    chmodSync(path, 0o755);
  };
  const mac: StandInMac = {
    env: { PATH: `${bin}:/usr/bin:/bin` },
    started: () =>
      readFileSync(join(place, 'started'), 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    setEnclave: (name) => write(join(place, 'enclave'), name),
    setBehaviour: (code) => write(join(place, 'behave.cjs'), code && `module.exports = ${code};\n`),
    setTool: (name, script) => write(join(bin, name), script && `#!/bin/sh\n${script}\n`),
    reset() {
      mac.setEnclave('this Mac');
      mac.setBehaviour(null);
      mac.setTool('xcode-select', 'echo /Library/Developer/CommandLineTools');
      // swiftc -O -swift-version 5 -o TO FROM
      mac.setTool('swiftc', `grep -q SecureEnclave.P256.Signing.PrivateKey "$6" && cp ${place}/helper "$5"`);
    },
    remove: () => rmSync(place, { recursive: true, maxRetries: 20 }),
  };
  write(join(place, 'helper'), HELPER(place));
  mac.reset();
  return mac;
}

/** Lets this process say that it runs on another system. Returns what undoes it. */
export function pretendPlatform(platform: NodeJS.Platform): () => void {
  const before = process.platform;
  Object.defineProperty(process, 'platform', { value: platform, configurable: true });
  return () => Object.defineProperty(process, 'platform', { value: before, configurable: true });
}
