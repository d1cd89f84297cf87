import { type ControllerPerson, type InviteOptions, inviteTarget, type Peer } from '@authmesh/sdk/admin';
import type { DeviceEntry } from '@authmesh/sdk/admin/list';
import { defineCommand } from 'citty';
import { nameIn, namesakesText } from '../allow-list/namesakes';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { afterwards } from '../errors/changes';
import { UsageError } from '../errors/errors';
import { loopbackNotes, openMachine, toHosts, trustAsTarget } from '../machine/machine';
import { chooseRelay } from '../relay/relay-choice';
import { interruptible } from '../terminal/interrupt';
import type { OutputOptions } from '../terminal/output';
import { askYesNo, isAttended } from '../terminal/prompt';
import { Teller } from '../terminal/teller';
import { clockText } from '../words/clock';
import { here } from '../words/here';
import { likelyUrl } from '../words/likely-url';
import { inGroups, toPairingCode } from '../words/pairing-code';
import { misleadingNote, peerName, withDigits } from '../words/peer-name';
import { shellWord } from '../words/shell';
import { SUMMARIES } from './summaries';

/** How long somebody may take to type the code on the target, in seconds. */
const TYPING_SECONDS = 120;

const MAX_SHOWN_HOSTS = 3;

export const invite = defineCommand({
  meta: {
    name: 'invite',
    description: SUMMARIES.invite,
  },
  args: {
    code: { type: 'positional', required: true, description: 'The six digits that amesh listen shows' },
    gap: { type: 'positional', required: false }, // the code is displayed as two groups
    relay: { type: 'string', valueHint: 'url', description: 'The relay that the other machine uses' },
    host: {
      type: 'string',
      valueHint: 'a,b',
      description: 'The hosts by which this machine reaches the other one, instead of those that it reports',
    },
    ...SHARED_ARGS,
    yes: { type: 'boolean', description: 'Ask nothing, and ignore the hosts that the other machine reports' },
  },

  async run({ args, data }): Promise<Result> {
    const options = data as OutputOptions;
    const code = toPairingCode(args.code + (args.gap ?? ''));
    const hosts = args.host === undefined ? undefined : toHosts(args.host, '--host');
    const device = await openMachine(); // opened first: without an identity, asking would be pointless
    if (!args.yes && !isAttended()) {
      throw new UsageError('This command asks what the other screen says, but there is no terminal.', {
        hint: 'Use --yes, and give the hosts of the other machine with --host.',
      });
    }
    const { url: relay } = await chooseRelay(args.relay, device.store);

    const teller = new Teller(options);
    const person = new AtController(teller);
    try {
      teller.wait(() => `Looking for ${inGroups(code)} on ${relay}…`);
      const target = await interruptible((signal) =>
        inviteTarget({
          device,
          relay,
          code,
          hosts,
          signal,
          person: args.yes ? person.withoutQuestion() : person,
        }),
      );
      return {
        json: { target },
        notes: [
          `✓ Trusted. This machine may now call "${target.friendlyName}".   Undo: ${here(`amesh revoke ${nameIn(await afterwards(device.trust.read()), target)}`)}`,
          ...loopbackNotes(args.host ?? ''),
          ...next(target, person.named, args.yes === true && hosts === undefined),
        ],
      };
    } finally {
      teller.stop();
    }
  },
});

/** The screen and keyboard at the controller. */
class AtController implements ControllerPerson {
  /** The hosts that the target reports. */
  named: readonly string[] = [];

  constructor(private readonly teller: Teller) {}

  showCode(verificationCode: string, { deviceId, friendlyName, hosts }: Peer): void {
    this.named = hosts;
    const name = peerName(friendlyName);
    this.teller.event(
      { event: 'verification_code', verificationCode, peer: { deviceId, friendlyName, hosts } },
      [
        `✓ Found ${name.shown}${toShownHosts(hosts)}`,
        ...misleadingNote(name),
        ...withDigits(`Type this on ${name.shown}`, inGroups(verificationCode)),
      ],
    );
    this.teller.data(verificationCode);
    const until = performance.now() + TYPING_SECONDS * 1000;
    this.teller.wait(() => `waiting ${clockText((until - performance.now()) / 1000)}`);
  }

  /** Shows everything, but asks nothing here: the person at the target decides alone. */
  withoutQuestion(): InviteOptions['person'] {
    return {
      showCode: this.showCode.bind(this),
      sharesName: this.sharesName.bind(this),
      confirm: null,
    };
  }

  sharesName(others: readonly DeviceEntry[]): void {
    const devices = others.map(({ deviceId }) => deviceId);
    this.teller.event({ event: 'name_shared', devices }, [`! ${namesakesText(others)}`]);
  }

  async confirm(verificationCode: string, _: Peer, signal: AbortSignal): Promise<boolean> {
    this.teller.stop();
    return askYesNo(`Does the target say VERIFIED ${inGroups(verificationCode)}?`, signal);
  }
}

/** The first hosts, as many as fit on a line: a target may report 32 hosts. */
function toShownHosts(hosts: readonly string[]): string {
  if (hosts.length === 0) return '';
  const more = hosts.length > MAX_SHOWN_HOSTS ? ` and ${hosts.length - MAX_SHOWN_HOSTS} more` : '';
  return ` (${hosts.slice(0, MAX_SHOWN_HOSTS).join(', ')}${more})`;
}

function next(target: DeviceEntry, named: readonly string[], isUnseen: boolean): string[] {
  const [host] = target.hosts;
  if (host !== undefined) {
    const url = likelyUrl(host);
    return [`  Try:  ${here(`amesh doctor ${shellWord(url)}`)}`, `        await amesh.fetch('${url}')`];
  }
  const dropped = isUnseen && named.length > 0;
  return [
    dropped
      ? `! Nobody compared the codes, so the hosts that it reports were not stored: ${named.join(', ')}`
      : '! The other machine reports no host, so requests to it do not name it as their target. Add a host, so that they are valid for that machine only.',
    `  To add its host:  ${here(trustAsTarget(target, dropped ? named : []))}`,
  ];
}
