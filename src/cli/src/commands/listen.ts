import { listenForController, type TargetPerson, type WrongCode } from '@authmesh/sdk/admin';
import type { DeviceEntry } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { droppedHosts, losesLocalhost } from '../allow-list/dropped-hosts';
import { endNotes } from '../allow-list/ends';
import { nameIn, namesakesNotes, namesakesText } from '../allow-list/namesakes';
import { SCOPE_ARGS, scopesOf, scopesText } from '../allow-list/scopes';
import { PROOFS_ARG, type Result, SHARED_ARGS } from '../command-line/command';
import { afterwards } from '../errors/changes';
import { UsageError } from '../errors/errors';
import { answersTo, hostsText, loopbackNotes, openMachine, toHosts } from '../machine/machine';
import { ownAddresses, urlsElsewhere } from '../relay/addresses';
import { PORT_ARG, toPort } from '../relay/port';
import { chooseRelay, relayFlag } from '../relay/relay-choice';
import { serveRelay } from '../relay/serve-relay';
import { interruptible } from '../terminal/interrupt';
import { type OutputOptions, printNotes } from '../terminal/output';
import { ask, askYesNo, isAttended } from '../terminal/prompt';
import { Teller } from '../terminal/teller';
import { TypedLines } from '../terminal/typed-lines';
import { clockText } from '../words/clock';
import { here } from '../words/here';
import { inGroups } from '../words/pairing-code';
import { peerName } from '../words/peer-name';
import { shellWord } from '../words/shell';
import { SUMMARIES } from './summaries';

const MAX_HOSTS = 32;
/** How often to ask for hosts, at most. */
const QUESTIONS = 5;

export const listen = defineCommand({
  meta: {
    name: 'listen',
    description: SUMMARIES.listen,
  },
  args: {
    relay: { type: 'string', valueHint: 'url', description: 'The relay at which the two machines meet' },
    host: {
      type: 'string',
      valueHint: 'a,b',
      description: 'The hosts by which callers reach this machine; stored after pairing',
    },
    ...SCOPE_ARGS,
    'max-controllers': {
      type: 'string',
      valueHint: 'n',
      description: 'How many machines may call this one; asks before it replaces one',
    },
    serve: {
      type: 'boolean',
      description: 'Also be the relay, for two machines on one network',
    },
    port: PORT_ARG,
    ...PROOFS_ARG,
    ...SHARED_ARGS,
  },

  async run({ args, data, rawArgs, cmd }): Promise<Result> {
    const options = data as OutputOptions;
    if (args.serve && args.relay !== undefined) {
      throw new UsageError('--serve and --relay cannot be combined.', { hint: 'Use one of them.' });
    }
    if (args.port !== undefined && !args.serve) {
      throw new UsageError('--port needs --serve.', { hint: 'Add --serve.' });
    }
    const scopes = scopesOf({ rawArgs, cmd });
    const port = toPort(args.port);
    const maxControllers = toMaxControllers(args['max-controllers']);
    const device = await openMachine();
    const before = await device.trust.readHead();
    const typed = args.host ?? (await askForHosts(answersTo(before).hosts, options, args.yes));
    const hosts = toHosts(typed, '--host');
    assertFew(hosts);
    const loss = await losesLocalhost(device.trust, before.hosts, hosts);
    if (loss !== null && !options.json && !options.quiet)
      printNotes(
        [`! ${loss.message}`, `  To keep localhost, add it to --host: ${hosts.join(',')},localhost:PORT`],
        options,
      );

    const teller = new Teller(options);
    const served = args.serve ? await serveRelay(port) : undefined;
    const relay = served?.url ?? (await chooseRelay(args.relay, device.store)).url;
    const relays =
      served === undefined
        ? { here: relay, elsewhere: await urlsElsewhere(relay) }
        : { here: null, elsewhere: ownAddresses().map((address) => `ws://${address}:${served.port}/ws`) };
    const person = new AtTarget(teller, relays, args.yes === true);
    try {
      teller.wait(() => `Asking ${relay} for a code…`);
      const wish = { hosts, scopes, maxControllers, proves: args.proofs };
      const { controller, replaced, head } = await interruptible((signal) =>
        listenForController({ device, relay, person, ...wish, signal }),
      );
      const { hosts: answers } = answersTo(head);
      return {
        json: { controller, replaced, hosts: answers },
        notes: [
          ...replaced.map(({ friendlyName }) => `✓ "${friendlyName}" may no longer call this machine.`),
          `✓ "${controller.friendlyName}" may now call this machine.   Undo: ${here(`amesh revoke ${nameIn(await afterwards(device.trust.read()), controller)}`)}`,
          ...(controller.scopes === undefined ? [] : [`  It may do: ${scopesText(controller.scopes)}.`]),
          ...endNotes(controller, head),
          `  Accepts requests for ${hostsText(answers)}.`,
          ...droppedHosts(before.hosts, head.hosts),
          ...loopbackNotes(typed),
        ],
      };
    } finally {
      teller.stop();
      person.close();
      await served?.close();
    }
  },
});

/** The URLs of the relay at which the two machines meet. */
interface Relays {
  /** For a caller on this machine: a loopback name, which other machines cannot use. */
  readonly here: string | null;
  readonly elsewhere: readonly string[];
}

function whatToRun({ here, elsewhere }: Relays, toCommand: (relay: string) => string): string[] {
  const [first = '', ...others] = elsewhere.map(toCommand);
  const more = others.map((other) => `                          or:   ${other}`);
  if (here === null) return [`  On the calling machine run this whole line:   ${first}`, ...more];
  if (elsewhere.length > 0) {
    return [
      `  On this machine run:          ${toCommand(here)}`,
      `  On another machine run:       ${first}`,
      ...more,
    ];
  }
  const whole = toCommand(here).includes(' --') ? ' this whole line' : '';
  return [`  On the calling machine run${whole}:   ${toCommand(here)}`];
}

/** The screen and keyboard at the target. */
class AtTarget implements TargetPerson {
  readonly #lines = isAttended() ? undefined : new TypedLines();
  #code = '';

  constructor(
    private readonly teller: Teller,
    private readonly relays: Relays,
    private readonly yes: boolean,
  ) {}

  showCode(code: string, expiresInSeconds: number): void {
    this.#code = code;
    const { here: onThis, elsewhere: others } = this.relays;
    const toCommand = (relay: string) => `amesh invite ${code}${relayFlag(relay)}`;
    const commands = [...(onThis === null ? [] : [onThis]), ...others].map(toCommand);
    this.teller.event({ event: 'code', code, expiresInSeconds, commands }, [
      `  Code  ${inGroups(code)}        expires in ${clockText(expiresInSeconds)}`,
      ...whatToRun(this.relays, toCommand),
    ]);
    this.teller.data(code);
    const until = performance.now() + expiresInSeconds * 1000;
    this.teller.wait(() => {
      const left = clockText((until - performance.now()) / 1000);
      return `Waiting… ${left}   Ctrl+C cancels, nothing is saved`;
    });
  }

  intruder(): void {
    this.teller.event({ event: 'code_tried_again' }, [
      '! A second device tried this code. If your own `amesh invite` is not connected, press Ctrl+C.',
    ]);
  }

  connected(): void {
    this.teller.event({ event: 'connected' }, [
      '✓ Connected. Only continue if YOU just ran `amesh invite` on the other device.',
    ]);
  }

  async typeCode(signal: AbortSignal): Promise<string> {
    if (this.#lines !== undefined) {
      this.#lines.forgetTyped();
      this.teller.event({ event: 'type_code' }, ['  Waiting for the code on the other screen, from stdin.']);
      return this.#lines.next(signal);
    }
    for (;;) {
      const text = await ask('  Code on the other screen: ', signal);
      if (text.trim() !== '' || process.stdin.readableEnded) return text; // Enter alone is not a try
    }
  }

  wrongCode({ triesLeft, wasPairingCode, isCode }: WrongCode): void {
    const tries = triesLeft === 1 ? '1 try left' : `${triesLeft} tries left`;
    const what = isCode ? 'Does not match' : 'The code has 6 digits';
    this.teller.event({ event: 'wrong_code', triesLeft, wasPairingCode, isCode }, [
      `✗ ${what} (${tries}). Type the code on the CONTROLLER's screen${wasPairingCode ? `, not the pairing code ${inGroups(this.#code)}` : ''}.`,
    ]);
  }

  async replace(
    old: readonly { friendlyName: string }[],
    peer: { friendlyName: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    if (this.yes) return true;
    if (this.#lines !== undefined) return false;
    const names = old.map(({ friendlyName }) => `"${friendlyName}"`).sort();
    return askYesNo(
      `The limit of controllers is reached. Let ${peerName(peer.friendlyName).shown} call this machine instead of ${names.join(' and ')}?`,
      signal,
    );
  }

  async shareName(
    others: readonly DeviceEntry[],
    { deviceId }: { deviceId: string },
    signal: AbortSignal,
  ): Promise<boolean> {
    if (this.#lines === undefined && !this.yes)
      return askYesNo(`${namesakesText(others)} Trust another one with this name?`, signal);
    const devices = others.map((other) => other.deviceId);
    this.teller.event({ event: 'name_shared', devices }, namesakesNotes(others, { deviceId }));
    return true;
  }

  verified(verificationCode: string): void {
    const shown = inGroups(verificationCode);
    this.teller.event({ event: 'verified', verificationCode }, [`✓ VERIFIED ${shown}`]);
    this.teller.wait(() => 'Waiting for the answer on the other machine…');
  }

  close(): void {
    this.#lines?.close();
  }
}

/** Asks only once, since the hosts are stored. */
async function askForHosts(
  known: readonly string[],
  options: OutputOptions,
  yes: boolean | undefined,
): Promise<string> {
  const { json, quiet } = options;
  if (known.length > 0 || json || quiet || yes || !isAttended()) return '';
  for (let left = QUESTIONS; ; left--) {
    const answer = await ask(
      '? Under which host will callers reach this machine? (for example api.example.com; Enter: localhost only) ',
    );
    const hosts = withoutScheme(answer);
    try {
      toHosts(hosts, 'The answer');
      return hosts;
    } catch (error) {
      if (left <= 1) throw error;
      printNotes([`✗ ${(error as Error).message}`], options);
    }
  }
}

/** Accepts URLs, and uses only their hosts. */
function withoutScheme(answer: string): string {
  return answer
    .split(',')
    .map((text) => text.trim().replace(/^https?:\/\/([^/?#@\s]+)\/?$/i, '$1'))
    .join(',');
}

function assertFew(hosts: readonly string[]): void {
  if (hosts.length <= MAX_HOSTS) return;
  throw new UsageError(`--host: one pairing can report at most ${MAX_HOSTS} hosts.`, {
    hint: `Add the others first: ${here(`amesh config hosts --add ${shellWord(hosts.slice(MAX_HOSTS).join(','))}`)}`,
  });
}

function toMaxControllers(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9]\d{0,5}$/.test(text))
    throw new UsageError('--max-controllers must be a whole number, at least 1.');
  return Number(text);
}
