// What every runtime's client makes of answers, proven and not. The query says what the proxy does with an answer.

/** @returns what came of each case: what was read, or the code of the error */
export async function runProofCases(
  { createClient, provenBy, allowUnprovenBody },
  { origin, signer, target },
) {
  const client = createClient({ signer, targetOf: () => target });
  const results = {};
  const run = async (name, call) => {
    try {
      results[name] = await call();
    } catch (error) {
      results[name] = { error: error.code ?? error.name };
    }
  };
  const get = (path, init) => client.fetch(origin + path, init);
  const body = (init) => async (path) => {
    const response = await get(path, init);
    const text = await response.text();
    return [response.status, text.length > 100 ? text.length : text, provenBy(response)?.body];
  };
  const read = body();

  await run('a body', () => read('/plain'));
  await run('no body', () => read('/empty'));
  await run('204', () => read('/none'));
  await run('HEAD', () => body({ method: 'HEAD' })('/plain'));
  await run('POST', () => body({ method: 'POST', body: 'x' })('/plain'));
  await run('1 MiB', () => read('/big'));
  await run('a refusal', () => read('/forbidden'));
  await run('a redirect', async () => {
    const response = await get('/redirect');
    return [response.redirected, response.url === `${origin}/plain`, await response.text()];
  });
  await run('cookies', async () => provenBy(await get('/cookies')).headers.getSetCookie());
  await run('a clone', async () => {
    const response = await get('/plain');
    const copy = response.clone();
    return [await response.text(), await copy.text(), provenBy(copy)?.target === target.deviceId];
  });
  await run('compressed on the way', () => read('/plain?gzip'));
  const headers = { 'accept-encoding': 'gzip' };
  await run('compressed, for which the program asked', () => body({ headers })('/plain?gzip'));
  await run('compressed, and another body', () => body({ headers })('/plain?wrong&gzip'));
  await run('a stream', () => read('/events'));
  await run('a stream that is allowed', () => body({ [allowUnprovenBody]: true })('/events'));
  for (const change of ['wrong', 'cut', 'longer', 'none', 'status', 'bare', 'refused', 'cookie']) {
    await run(`${change}: text`, () => read(`/cookies?${change}`));
    await run(
      `${change}: arrayBuffer`,
      async () => (await (await get(`/cookies?${change}`)).arrayBuffer()).byteLength,
    );
    await run(`${change}: a stream`, async () => {
      for await (const _chunk of (await get(`/cookies?${change}`)).body ?? []);
      return 'the end';
    });
    await run(`${change}: a clone`, async () => (await get(`/cookies?${change}`)).clone().text());
  }
  await run('a body that is aborted', async () => {
    const aborting = new AbortController();
    const response = await get('/big?hang', { signal: aborting.signal });
    const reading = response.text();
    aborting.abort(); // not after the first chunk: it is held back where it is the only one so far
    await reading;
    return 'the end';
  });
  await run('a connection that breaks', async () => (await get('/big?break')).text());
  return results;
}
