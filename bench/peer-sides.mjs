// Other ways to sign a request, each in its recommended use: the body is covered, and a second use of a request is refused.
import { createHash, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';
import Hawk from '@hapi/hawk';
import { AwsClient } from 'aws4fetch';
import { createSignature, verifySignature } from 'http-message-sig';
import { createSigner, createVerifier, httpbis } from 'http-message-signatures';
import { jwtVerify, SignJWT } from 'jose';
import { Webhook } from 'standardwebhooks';
import { VIEW } from './operations.mjs';
import { PER_TURN } from './turns.mjs';

const BODY = Buffer.from(VIEW.body);
const TEXT = BODY.toString();
const URL_TEXT = `http://${VIEW.authority}${VIEW.target}`;
const COVERED = ['@method', '@authority', '@path', '@query', 'content-digest', 'content-type'];
const SECRET = randomBytes(32);
const ES256 = 'ecdsa-p256-sha256';

function digestOf(body) {
  return `sha-256=:${createHash('sha256').update(body).digest('base64')}:`;
}

/** Remembers what was used, as each of them has to. */
function onlyOnce() {
  const used = new Set();
  return (nonce) => {
    if (nonce === undefined || used.has(nonce)) throw new Error('This request was used before.');
    used.add(nonce);
  };
}

/** A peer: what signs, and what verifies the result. Requests to verify are signed before the turn. */
function peer(name, key, signOne, verifyOne) {
  let requests = [];
  const verifying = verifyOne && {
    async prepare() {
      requests = [];
      for (let i = 0; i < PER_TURN; i++) requests.push(await signOne());
    },
    run: (i) => verifyOne(requests[i]),
  };
  return { name, key, sign: { run: signOne }, verify: verifying };
}

export function peers() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return [
    messageSignatures(privateKey, publicKey),
    messageSig(privateKey, publicKey),
    jwt(privateKey, publicKey),
    hawk(),
    webhooks(),
    aws(),
  ];
}

/** `http-message-signatures`: RFC 9421. */
function messageSignatures(privateKey, publicKey) {
  const claim = onlyOnce();
  const key = createSigner(privateKey, ES256, 'k');
  const verifier = { id: 'k', algs: [ES256], verify: createVerifier(publicKey, ES256) };
  const signOne = () =>
    httpbis.signMessage(
      {
        key,
        fields: COVERED,
        params: ['created', 'nonce', 'keyid', 'tag'],
        paramValues: { nonce: randomBytes(16).toString('base64url'), tag: 'bench' },
      },
      {
        method: 'POST',
        url: URL_TEXT,
        headers: { ...VIEW.headers, 'content-digest': digestOf(BODY) },
      },
    );
  return peer('http-message-signatures', 'P-256', signOne, async (message) => {
    let nonce;
    const keyLookup = async (parameters) => {
      nonce = parameters.nonce;
      return verifier;
    };
    const config = { keyLookup, requiredFields: COVERED, requiredParams: ['created', 'nonce'], maxAge: 60 };
    if ((await httpbis.verifyMessage(config, message)) !== true) throw new Error('Refused.');
    if (message.headers['content-digest'] !== digestOf(BODY)) throw new Error('Another body.');
    claim(nonce);
  });
}

/** `http-message-sig`: RFC 9421, with the caller's own signer. */
function messageSig(privateKey, publicKey) {
  const claim = onlyOnce();
  const dsaEncoding = 'ieee-p1363';
  const signer = {
    algorithm: ES256,
    sign: (data) => sign('sha256', data, { key: privateKey, dsaEncoding }),
  };
  const verifier = {
    algorithm: ES256,
    verify: (data, signature) => verify('sha256', data, { key: publicKey, dsaEncoding }, signature),
  };
  const messageOf = (fields) => ({ kind: 'request', method: 'POST', targetUri: URL_TEXT, fields });
  const signOne = async () => {
    const fields = Object.entries({ ...VIEW.headers, 'content-digest': digestOf(BODY) }).map(
      ([name, value]) => ({ name, value }),
    );
    const { signature, signatureInput } = await createSignature(messageOf(fields), {
      label: 'sig',
      components: COVERED,
      parameters: {
        created: Math.floor(Date.now() / 1000),
        nonce: randomBytes(16).toString('base64url'),
        keyid: 'k',
      },
      signer,
    });
    return [
      ...fields,
      { name: 'signature', value: signature },
      { name: 'signature-input', value: signatureInput },
    ];
  };
  const policy = {
    algorithms: [ES256],
    requiredComponents: COVERED,
    requiredParameters: ['created', 'nonce', 'keyid'],
    maxAge: 60,
  };
  return peer('http-message-sig', 'P-256', signOne, async (fields) => {
    const found = await verifySignature(messageOf(fields), { policy, resolveVerifier: () => verifier });
    if (fields.find(({ name }) => name === 'content-digest').value !== digestOf(BODY))
      throw new Error('Another body.');
    claim(found.parameters.nonce);
  });
}

/** `jose`: a JWT for each request, which names method, URL and the hash of the body, as DPoP does. */
function jwt(privateKey, publicKey) {
  const claim = onlyOnce();
  const hashOf = () => createHash('sha256').update(BODY).digest('base64url');
  const signOne = () =>
    new SignJWT({ htm: 'POST', htu: URL_TEXT, bh: hashOf(), jti: randomBytes(16).toString('base64url') })
      .setProtectedHeader({ alg: 'ES256', typ: 'bench+jwt' })
      .setIssuedAt()
      .sign(privateKey);
  return peer('jose', 'P-256', signOne, async (token) => {
    const { payload } = await jwtVerify(token, publicKey, {
      algorithms: ['ES256'],
      typ: 'bench+jwt',
      maxTokenAge: '60 s',
    });
    if (payload.htm !== 'POST' || payload.htu !== URL_TEXT || payload.bh !== hashOf())
      throw new Error('Another request.');
    claim(payload.jti);
  });
}

/** `@hapi/hawk`: HMAC with a shared secret. */
function hawk() {
  const claim = onlyOnce();
  const credentials = { id: 'k', key: SECRET.toString('base64url'), algorithm: 'sha256' };
  const contentType = VIEW.headers['content-type'];
  const signOne = async () =>
    Hawk.client.header(URL_TEXT, 'POST', { credentials, payload: TEXT, contentType }).header;
  return peer('@hapi/hawk', 'shared secret', signOne, async (authorization) => {
    const request = { method: 'POST', url: VIEW.target, headers: { ...VIEW.headers, authorization } };
    await Hawk.server.authenticate(request, async () => credentials, {
      payload: TEXT,
      nonceFunc: (_key, nonce) => claim(nonce),
    });
  });
}

/** `standardwebhooks`: HMAC with a shared secret, over the body and an ID. */
function webhooks() {
  const claim = onlyOnce();
  const webhook = new Webhook(SECRET.toString('base64'));
  const signOne = async () => {
    const [id, now] = [randomBytes(16).toString('base64url'), new Date()];
    return {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': webhook.sign(id, now, TEXT),
    };
  };
  return peer('standardwebhooks', 'shared secret', signOne, async (headers) => {
    webhook.verify(TEXT, headers, { jsonParse: false });
    claim(headers['webhook-id']);
  });
}

/** `aws4fetch`: HMAC with a shared secret. It has no side that verifies. */
function aws() {
  const client = new AwsClient({
    accessKeyId: 'k',
    secretAccessKey: SECRET.toString('base64url'),
    service: 'execute-api',
    region: 'eu-central-1',
  });
  const signOne = () => client.sign(URL_TEXT, { method: 'POST', headers: VIEW.headers, body: TEXT });
  return peer('aws4fetch', 'shared secret', signOne, null);
}
