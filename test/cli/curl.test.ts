import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  link,
  lstat,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { createAmesh, type VerifyOptions } from '@authmesh/sdk';
import { afterAll, describe, expect, it } from 'vitest';
import { type Listening, listen } from '../support/listen';
import { BIN, type Machine, objectOf, useMachines } from './amesh';
import { trust } from './examine';

const createMachine = useMachines();
const servers: Listening[] = [];
afterAll(() => Promise.all(servers.map((server) => server.close())));

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

/** A target behind `verify()`, and a machine that knows it. */
async function meet(
  answer: (response: ServerResponse, seen: Seen) => unknown = (response) => response.end('{"ok":1}\n'),
  { isTrusted = true, isListed = true, verify = {} as VerifyOptions } = {},
) {
  const [prod, laptop] = [await createMachine(), await createMachine()];
  const [target, caller] = [await prod.init('prod-api'), await laptop.init('laptop')];
  if (isTrusted) await trust(prod, caller, 'controller');
  const guard = createAmesh({ dir: prod.dir, env: {}, onRefusal: () => {} }).verify(verify);
  const seen: Seen[] = [];
  const server = await listen(
    createServer((request, response) => {
      guard(request, response, async () => {
        const { method, url, headers } = request;
        const one = { method, url, headers, body: await buffer(request) };
        seen.push(one);
        await answer(response, one);
      });
    }),
  );
  servers.push(server);
  if (isListed) await trust(laptop, target, 'target', [server.authority]);
  return { prod, laptop, server, seen };
}

/** Somebody on the way to a server, who changes the last byte of a body, or leaves one out at `/cut`. */
async function altering(port: number): Promise<Listening> {
  const way = await listen(
    createServer(async ({ method, url: path = '', rawHeaders: headers }, response) => {
      const sent = request({ host: '127.0.0.1', port, method, path, headers: [...headers], setHost: false });
      const [answer] = (await once(sent.end(), 'response')) as [IncomingMessage];
      response.writeHead(answer.statusCode ?? 0, [...answer.rawHeaders]);
      const body = await buffer(answer);
      if (path === '/cut') return response.write(body.subarray(1), () => response.destroy());
      body[body.length - 1] = 0;
      response.end(body);
    }),
  );
  servers.push(way);
  return way;
}

const targetOf = async (machine: Machine) => (await machine.allowList()).devices[0] as never;

const curl = (machine: Machine, ...args: string[]) => machine.amesh(['curl', ...args]);

describe('amesh curl', () => {
  it('prints the body as it arrived, and nothing else', async () => {
    const { laptop, server, seen } = await meet();
    expect(await curl(laptop, `${server.origin}/orders?x=1`)).toEqual({
      code: 0,
      stdout: '{"ok":1}\n',
      stderr: '',
    });
    expect(seen).toMatchObject([{ method: 'GET', url: '/orders?x=1' }]);
  });

  it('sends what -X, -H and -d say, as curl does', async () => {
    const { laptop, server, seen } = await meet();
    await curl(laptop, server.origin, '-d', 'a=1', '-d', 'b=2');
    await curl(
      laptop,
      '-XPUT',
      '-H',
      'Content-Type: application/json',
      '-H',
      'X-A: hello',
      '-d',
      '{}',
      server.origin,
    );
    await curl(laptop, server.origin, '--request', 'DELETE');
    expect(seen.map(({ method, headers, body }) => [method, headers['content-type'], String(body)])).toEqual([
      ['POST', 'application/x-www-form-urlencoded', 'a=1&b=2'],
      ['PUT', 'application/json', '{}'],
      ['DELETE', undefined, ''],
    ]);
    expect(seen[1]?.headers['x-a']).toBe('hello');
  });

  it('takes the text after a letter as the value of that flag only, as curl does', async () => {
    const { laptop, server, seen } = await meet();
    const to = join(laptop.dir, '../dHdata.json');
    const attached = [
      ['-XPATCH', '-HX-A: dHi', '-da=-H', server.origin],
      ['-XHEAD', server.origin],
      [`-o${to}`, '-vXSEARCH', server.origin],
      ['-iXhead', server.origin],
    ];
    for (const args of attached) expect((await curl(laptop, ...args)).code, args.join(' ')).toBe(0);
    const own = ({ headers }: Seen) =>
      Object.keys(headers)
        .filter(
          (name) =>
            !/^(?:host|connection|content-length|content-digest|accept|sec-|user-|signature|authorization|authmesh)/.test(
              name,
            ),
        )
        .sort();
    expect(seen.map((one) => [one.method, String(one.body), own(one)])).toEqual([
      ['PATCH', 'a=-H', ['content-type', 'x-a']],
      ['HEAD', '', []],
      ['SEARCH', '', []],
      ['HEAD', '', []],
    ]);
    expect(await readFile(to, 'utf8')).toBe('{"ok":1}\n');
  });

  it('sends a file and stdin byte for byte, and writes bytes to a file', async () => {
    const { laptop, server } = await meet((response, { body }) => response.end(body));
    const bytes = Buffer.from([0, 255, 13, 10, 0]);
    const [from, to] = [join(laptop.dir, '../from'), join(laptop.dir, '../to')];
    await writeFile(from, bytes);
    expect((await curl(laptop, server.origin, '-d', `@${from}`, '-o', to)).stdout).toBe('');
    expect((await readFile(to)).equals(bytes)).toBe(true);
    const ran = await laptop.amesh(['curl', server.origin, '-d', '@-'], {
      input: 'typed\n',
      isProcess: true,
    });
    expect(ran).toEqual({ code: 0, stdout: 'typed\n', stderr: '' });
  });

  it('leaves the file of -o unchanged if the body is not the signed one, or breaks off', async () => {
    const { laptop, server } = await meet((response) => response.end('x'.repeat(200_000)));
    const way = await altering(server.port);
    await trust(laptop, await targetOf(laptop), 'target', [way.authority]);
    const folder = await mkdtemp(join(tmpdir(), 'amesh-curl-'));
    const to = join(folder, 'answer');
    for (const path of ['/altered', '/cut']) {
      for (const old of [undefined, 'old']) {
        if (old !== undefined) await writeFile(to, old);
        const ran = await curl(laptop, way.origin + path, '-o', to);
        expect(ran.code, path).not.toBe(0);
        expect(ran.stderr, path).not.toContain('No changes were made');
        expect(await readdir(folder), path).toEqual(old === undefined ? [] : ['answer']);
        if (old !== undefined) expect(await readFile(to, 'utf8'), path).toBe('old');
        await rm(to, { force: true });
      }
    }
    await rm(folder, { recursive: true });
  });

  it('writes the file of -o in place, whatever it is', async () => {
    const { laptop, server } = await meet();
    const folder = await mkdtemp(join(tmpdir(), 'amesh-curl-'));
    const at = (name: string) => join(folder, name);
    for (const name of ['old', 'linked', 'twice']) await writeFile(at(name), 'a longer text than the answer');
    await chmod(at('old'), 0o4640);
    await symlink('linked', at('link'));
    await symlink('nothing', at('dangling'));
    await link(at('twice'), at('twin'));
    execFileSync('mkfifo', [at('pipe')]);
    const piped = readFile(at('pipe'), 'utf8');
    for (const name of ['new', 'old', 'link', 'dangling', 'twice', 'pipe'])
      expect(await curl(laptop, server.origin, '-o', at(name)), name).toMatchObject({ code: 0, stderr: '' });
    expect(await piped).toBe('{"ok":1}\n');
    for (const name of ['new', 'old', 'linked', 'nothing', 'twice', 'twin'])
      expect(await readFile(at(name), 'utf8'), name).toBe('{"ok":1}\n');
    expect((await lstat(at('link'))).isSymbolicLink()).toBe(true);
    expect((await stat(at('old'))).mode & 0o7777).toBe(0o640); // no setuid for what was fetched
    expect((await stat(at('new'))).mode & 0o777).toBe(0o666 & ~process.umask());
    expect(await readdir(folder)).toHaveLength(9);
    // The shell has opened that file, so nobody may put another one in its place.
    const words = [process.execPath, BIN, 'curl', server.origin, '-o', '/dev/stdout'];
    const script = '(echo before; "$@") > "$0"; cat "$0"';
    const ran = await promisify(execFile)('sh', ['-c', script, at('new'), ...words], { env: laptop.env() });
    expect(ran.stdout).toMatch(/^(?:before\n)?\{"ok":1\}\n/);
    await rm(folder, { recursive: true });
  });

  it('names the file of -d that cannot be read, and sends nothing', async () => {
    const { laptop, server, seen } = await meet();
    const { code, stderr } = await curl(laptop, server.origin, '-d', `@${join(laptop.dir, 'none')}`);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /^✗ The file of -d cannot be read: ENOENT.*\n {2}Check the path\.\n {2}No changes were made\.\n$/,
    );
    expect(seen).toEqual([]);
  });

  it('says that a request was sent if its response cannot be written', async () => {
    const { laptop, server, seen } = await meet();
    const { code, stderr } = await curl(laptop, server.origin, '-o', join(laptop.dir, 'none/answer'));
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /^✗ The target responded with 200, but the response cannot be written to the file of -o: ENOENT/,
    );
    expect(stderr).not.toContain('No changes were made');
    expect(seen).toHaveLength(1);
  });

  it('-i shows the head on stdout, and -v on stderr, with the text that was signed', async () => {
    const { laptop, server } = await meet();
    const ran = await curl(laptop, '-i', '-v', `${server.origin}/a?b`);
    expect(ran.stdout).toMatch(/^HTTP 200 OK\n(?:[\w-]+: .*\n)+\n\{"ok":1\}\n$/);
    expect(ran.stderr).toContain(`> GET /a?b\n> host: ${server.authority}\n`);
    expect(ran.stderr).toContain('*   "@method": GET\n');
    expect(ran.stderr).toMatch(/\* {3}"@signature-params": \("@method" .*\);created=\d+;nonce="/);
    expect(ran.stderr).toContain('< HTTP 200 OK\n');
    expect((await curl(laptop, '-h')).stdout).toContain('--verbose, -v');
  });

  it('--json has everything', async () => {
    const { laptop, server } = await meet();
    const found = objectOf(await curl(laptop, server.origin, '--json'));
    expect(found).toMatchObject({ ok: true, url: `${server.origin}/`, status: 200, body: '{"ok":1}\n' });
    expect(Object.keys(found)).toEqual(['ok', 'url', 'status', 'headers', 'base', 'body']);
    const binary = await meet((response) => response.end(Buffer.from([255])));
    expect(objectOf(await curl(binary.laptop, binary.server.origin, '--json'))).toMatchObject({
      bodyBase64: '/w==',
    });
  });

  it('--json has each Set-Cookie', async () => {
    const cookies = ['a=1; Expires=Wed, 09 Jun 2021 10:18:14 GMT', 'b=2'];
    const { laptop, server } = await meet((response) =>
      response.writeHead(200, { 'set-cookie': cookies, vary: 'a, b' }).end(),
    );
    const { headers } = objectOf(await curl(laptop, server.origin, '--json')) as { headers: object };
    expect(headers).toMatchObject({ 'set-cookie': cookies, vary: expect.stringContaining('a, b') });
    const one = await meet((response) => response.writeHead(200, { 'set-cookie': 'c=3' }).end());
    expect(objectOf(await curl(one.laptop, one.server.origin, '--json'))).toMatchObject({
      headers: { 'set-cookie': ['c=3'] },
    });
  });

  it('follows no redirect, and says where it leads', async () => {
    const { laptop, server, seen } = await meet((response) =>
      response.writeHead(302, { location: '/there' }).end(),
    );
    const ran = await curl(laptop, server.origin);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toContain('! 302 leads to /there. amesh curl follows no redirect: call that URL.');
    expect(seen).toHaveLength(1);
  });
});

describe('what went wrong, in words', () => {
  it('a refusal of amesh at the server: exit code 11', async () => {
    const { laptop, server } = await meet(undefined, { isTrusted: false });
    const ran = await curl(laptop, server.origin, '--answers', 'off');
    expect(ran).toMatchObject({ code: 11, stdout: '{"error":"unauthorized"}' });
    expect(ran.stderr).toContain(
      '✗ 401 unauthorized: The server did not accept the signature of this device.',
    );
    expect(ran.stderr).toContain('On the target: amesh list');
  });

  it('a scope that is missing', async () => {
    const { laptop, server } = await meet(undefined, { verify: { require: 'orders:read' } });
    const ran = await curl(laptop, server.origin);
    expect(ran.code).toBe(11);
    expect(ran.stderr).toMatch(
      /✗ 403 scope_missing: .*orders:read.*\n {2}Ask the administrator of .* amesh allow am_/,
    );
    expect(objectOf(await curl(laptop, server.origin, '--json'))).toMatchObject({
      ok: true,
      code: 'scope_missing',
    });
  });

  it('an answer that is not proven', async () => {
    const { laptop, server } = await meet(undefined, { isTrusted: false });
    const ran = await curl(laptop, server.origin, '-X', 'POST');
    expect(ran).toMatchObject({ code: 1, stdout: '' });
    expect(ran.stderr).toContain('is not proven');
    expect(ran.stderr).toContain('The request may have been carried out.');
    expect(ran.stderr).not.toContain('No changes were made');
  });

  it('an error of the application: exit code 1, with its body', async () => {
    const { laptop, server } = await meet((response) => response.writeHead(404).end('no'));
    expect(await curl(laptop, server.origin)).toEqual({ code: 1, stdout: 'no', stderr: '' });
  });

  it('a 401 for another login', async () => {
    const answer = (response: ServerResponse) =>
      response.writeHead(401, { 'www-authenticate': 'Basic' }).end();
    const { laptop, server } = await meet(answer);
    const ran = await curl(laptop, server.origin);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('! This 401 does not come from amesh, but from another login (Basic)');
  });

  it('a host that no target has: nothing is sent', async () => {
    const { laptop, server, seen } = await meet(undefined, { isListed: false });
    const ran = await curl(laptop, server.origin);
    expect(ran).toMatchObject({ code: 1, stdout: '' });
    expect(ran.stderr).toContain(
      `✗ Nothing was signed: no target in the allow list of this machine has the host ${server.authority}.`,
    );
    expect(ran.stderr).toContain(`amesh trust add --role target --host ${server.authority} LINE`);
    expect(seen).toEqual([]);
  });

  it('nobody listens, no identity, and wrong arguments', async () => {
    const { laptop, server } = await meet();
    await servers.pop()?.close();
    const gone = await curl(laptop, server.origin);
    expect(gone).toMatchObject({ code: 1 });
    expect(gone.stderr).toContain('does not respond: ECONNREFUSED.');
    expect(objectOf(await curl(laptop, server.origin, '--json'))).toMatchObject({
      error: { code: 'no_answer' },
    });
    expect((await curl(await createMachine(), server.origin)).code).toBe(10);
    for (const args of [
      ['orders'],
      ['http://a:b@c/'],
      [server.origin, '-H', 'nonsense'],
      ['-Q', server.origin],
    ])
      expect((await curl(laptop, ...args)).code).toBe(2);
  });

  it.each([[['-i']], [['--json']], [['-o', 'FILE']]])(
    'a response that is cut off, with %j',
    async (flags) => {
      const { laptop, server, seen } = await meet((response) => {
        response
          .writeHead(200, { 'content-length': 100_000 })
          .write('x'.repeat(1000), () => response.destroy());
      });
      const args = flags.map((word) => (word === 'FILE' ? join(laptop.dir, '../cut') : word));
      const ran = await curl(laptop, server.origin, '--answers', 'off', ...args);
      expect(ran.code).toBe(1);
      const said = flags[0] === '--json' ? ran.stdout : ran.stderr;
      expect(said).toContain('The response was cut off: UND_ERR_SOCKET.');
      expect(said).toContain('The request may have been carried out');
      expect(said).not.toContain('No changes were made');
      if (flags[0] === '--json') expect(objectOf(ran)).toMatchObject({ error: { code: 'no_answer' } });
      expect(seen).toHaveLength(1);
    },
  );

  it('a body that is not what its Content-Encoding says', async () => {
    const { laptop, server } = await meet((response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip'),
    );
    const ran = await curl(laptop, server.origin, '--answers', 'off');
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain(
      '✗ The body of the response is not what its Content-Encoding says: Z_DATA_ERROR.',
    );
  });

  it.each([
    [['-X', 'GET', '-d', 'x'], 'A GET request must not have a body.'],
    [['-X', 'HEAD', '-d', 'x'], 'A HEAD request must not have a body.'],
    [['-X', 'TRACE'], 'TRACE cannot be signed.'],
    [['-X', 'CONNECT'], 'CONNECT cannot be signed.'],
    [['-X', 'G,T'], 'The method is not a token.'],
    [['-X', 'TRACK'], 'TRACK'],
    ...[
      'host: other.example',
      'connection: x',
      'Keep-Alive: timeout=5',
      'proxy-connection: close',
      'te: trailers',
      'trailer: x',
      'transfer-encoding: chunked',
      'upgrade: websocket',
      'expect: 100-continue',
      'content-digest: sha-256=:AAAA:',
      'authmesh-target: am_AAAAAAAAAAAAAAAA',
      'authorization: AuthMesh v="2"',
    ].map((line): [string[], string] => [
      ['-H', line],
      `-H cannot set ${line.split(':')[0]?.toLowerCase()}: amesh or the connection does that.`,
    ]),
    [['-d', 'abc', '-H', 'content-length: 5'], '-H cannot set content-length: '],
    [['-H', 'content-length: 5'], '-H cannot set content-length: '],
  ])('%j is a usage error', async (args, text) => {
    const { laptop, server, seen } = await meet();
    const ran = await curl(laptop, server.origin, ...args);
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([2, '', expect.stringContaining(text)]);
    expect(ran.stderr).not.toContain('bug');
    expect(ran.stderr).toContain('Usage: amesh curl');
    expect(seen).toEqual([]);
  });

  it('a port that is never called, and something that does not speak HTTP', async () => {
    const { laptop, server } = await meet();
    const other = await listen(createServer().on('connection', (socket) => void socket.end('hello\n')));
    servers.push(other);
    await trust(laptop, await targetOf(laptop), 'target', [
      '127.0.0.1:6000',
      other.authority,
      server.authority,
    ]);
    const blocked = await curl(laptop, 'http://127.0.0.1:6000/');
    expect(blocked).toMatchObject({ code: 2 });
    expect(blocked.stderr).toContain('✗ The port 6000 is one that fetch never calls.');
    const ran = await curl(laptop, other.origin);
    expect(ran.code).toBe(1);
    expect(ran.stderr).toMatch(/✗ http:\S+ does not speak HTTP: HPE_\w+\./);
  });

  it('the flags of the command, and not the options of the API', async () => {
    const { laptop, server } = await meet((response) => response.write('a stream', () => response.end()));
    const required = ['--answers', 'required'];
    const stream = await curl(laptop, server.origin, ...required);
    expect([stream.code, stream.stderr]).toEqual([
      1,
      expect.stringContaining('the head only, and not the body.'),
    ]);
    expect(stream.stderr).toContain('--answers off');
    const stranger = await meet(undefined, { isTrusted: false });
    for (const { stderr } of [stream, await curl(stranger.laptop, stranger.server.origin, ...required)])
      expect(stderr).not.toMatch(/answers: |allowUnprovenBody/);
  });

  it('an enrolment that fails because nobody responds', async () => {
    const { laptop, server, prod } = await meet();
    const { stdout } = await prod.amesh(['grant', '--name', 'laptop', '--host', server.authority]);
    await servers.pop()?.close();
    const ran = await laptop.amesh(['curl', server.origin], {
      env: { AMESH_BOOTSTRAP_TOKEN: stdout.trim() },
    });
    expect(ran.code).toBe(1);
    expect(ran.stderr).toContain('does not respond: ECONNREFUSED.');
  });

  it('a delegation next to a folder', async () => {
    const { laptop, server } = await meet();
    const env = { AMESH_DELEGATION: 'amesh_delegation_x' };
    for (const command of [
      ['curl', server.origin],
      ['proxy', '--to', server.origin, '--listen', '127.0.0.1:0'],
      ['proxy', '--protect', server.origin, '--listen', '127.0.0.1:0'],
    ]) {
      const ran = await laptop.amesh(command, { env, input: '' });
      expect([command, ran.code, ran.stderr]).toEqual([
        command,
        2,
        expect.stringContaining('AMESH_DELEGATION and AUTH_MESH_DIR are both given.'),
      ]);
    }
    const alone = { ...env, AUTH_MESH_DIR: '', HOME: join(laptop.dir, '..') };
    const guard = await laptop.amesh(['proxy', '--protect', server.origin, '--listen', '127.0.0.1:0'], {
      env: alone,
    });
    expect([guard.code, guard.stderr]).toEqual([2, expect.stringContaining('this instance is a delegate')]);
  });
});
