import { defineCommand } from 'citty';
import { type Command, SHARED_ARGS } from '../command-line/command';
import { SUMMARIES } from './summaries';

const commands: Command = defineCommand({
  meta: { name: 'amesh', description: 'Gives this machine a key, and pairs it with the machines it trusts' },
  args: SHARED_ARGS,
  subCommands: {
    init: () => import('./init').then(({ init }) => init),
    listen: () => import('./listen').then(({ listen }) => listen),
    invite: () => import('./invite').then(({ invite }) => invite),
    status: () => import('./status').then(({ status }) => status),
    whoami: () => import('./whoami').then(({ whoami }) => whoami),
    keys: () => import('./keys').then(({ keys }) => keys),
    provision: () => import('./provision').then(({ provision }) => provision),
    grant: () => import('./grant').then(({ grant }) => grant),
    delegate: () => import('./delegate').then(({ delegate }) => delegate),
    'answer-key': () => import('./answer-key').then(({ answerKey }) => answerKey),
    tokens: () => import('./tokens').then(({ tokens }) => tokens),
    trust: () => import('./trust').then(({ trust }) => trust),
    list: () => import('./list').then(({ list }) => list),
    rename: () => import('./rename').then(({ rename }) => rename),
    allow: () => import('./allow').then(({ allow }) => allow),
    deny: () => import('./deny').then(({ deny }) => deny),
    can: () => import('./can').then(({ can }) => can),
    rotate: () => import('./rotate').then(({ rotate }) => rotate),
    revoke: () => import('./revoke').then(({ revoke }) => revoke),
    curl: () => import('./curl').then(({ curl }) => curl),
    mcp: () => import('./mcp').then(({ mcp }) => mcp),
    config: () => import('./config').then(({ config }) => config),
    proxy: () => import('./proxy').then(({ proxy }) => proxy),
    doctor: () => import('./doctor').then(({ doctor }) => doctor),
    complete: () => import('./complete').then(({ completeFor }) => completeFor(root)),
    relay: () => import('./relay').then(({ relay }) => relay),
  },
});

export const root: Command = Object.assign(commands, { summaries: SUMMARIES });
