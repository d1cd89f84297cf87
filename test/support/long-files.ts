/**
 * Files that `npm test` leaves to CI, by what makes them long. What they are about is tested by other files of their folders, too,
 * in one process, on the newest version of a framework, or with fewer cases.
 */
const LONG: Readonly<Record<string, RegExp>> = {
  'each command a process, at a terminal or as another user':
    /^cli\/(?:administrators|command-line|curl|damaged-list|delegate|faults|git|hostile-names|listen|listen-terminal|owner|pairing-terminal|terminal|typed-ahead|variables)\./,
  'several machines and instances, and stores that fail':
    /^(?:bootstrap\/(?:fleet|repeats)|cli\/(?:moved-fleet|rotate-shared|shared-store|take-over)|delegates\/fleet|redis\/(?:attacks|comeback|deadline.*|fleet|topologies)|relay\/(?:cluster|packed|process|redis-attacks|redis-failures|self-hosting|siege)|rotation\/(?:everywhere|lies|shared-kill|under-load)|storage\/(?:attacks|concurrency|eviction|shared-list)|trust\/concurrency|workers\/take-over)\./,
  'kills at each step, and histories':
    /^(?:pairing\/(?:client-trust|crash|drop)|trust\/(?:kill|rotation-model|setup))\./,
  'other runtimes and languages, and older frameworks':
    /^(?:adapters\/stream-runtimes|answers\/(?:moved-target|node-middleware|web-.*)|contract\/(?:express4|fastify4|fetch-.*|h3|hono-(?:bun|deno|workerd)|koa|lambda)|http-clients\/contract|runtimes\/.*)\./,
  "the system's stores for keys":
    /^keys\/(?:external|keychain|secret-variables|secrets-in-memory|secure-enclave|ssh-agent|tpm2-working-keys)\./,
  'proxies and networks':
    /^(?:cli\/(?:doctor-target|proxy|proxy-(?:aborts|chain|spoofing|tls))|network\/.*|proxy\/nginx)\./,
  'many cases, or large ones':
    /^(?:adapters\/(?:early-refusal|stream)|attacks\/(?:announced-upload|cross-target|damaged-pages|hostile-sizes|invented-ids|loopback-names|mutated-requests|spellings|tampered-trust)|bootstrap\/(?:enrolment-attacks|everywhere|grants|leaks|unproven-answers|wrong-tokens))\./,
  'releases, and the programs in the documents': /^(?:build\/release|docs\/(?:api|snippets))\./,
};

/** Whether only CI runs a file, unless somebody names one. */
export function isLong(path: string): boolean {
  return Object.values(LONG).some((files) => files.test(path.replace(/^test\//, '')));
}

/** What a run of the suite leaves out, for people. */
export function leftOut(paths: readonly string[]): string {
  const lines = Object.entries(LONG).map(([what, files]) => {
    const names = paths.map((path) => path.slice('test/'.length)).filter((path) => files.test(path));
    return `  ${what}:\n    ${names.map((name) => name.replace('.test.ts', '')).join(' ')}`;
  });
  return `Left to CI and \`npm run test:all\`, ${paths.filter(isLong).length} of ${paths.length} files:\n${lines.join('\n')}\n`;
}
