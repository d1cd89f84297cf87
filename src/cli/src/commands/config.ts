import { defineCommand } from 'citty';
import { type Result, SHARED_ARGS } from '../command-line/command';
import { type AnswersTo, answersTo, hostsText, openMachine } from '../machine/machine';
import { chooseRelay } from '../relay/relay-choice';
import { here } from '../words/here';
import { table } from '../words/table';
import { SUMMARIES } from './summaries';

const FROM: Record<AnswersTo['from'], string> = {
  AMESH_HOSTS: 'AMESH_HOSTS in this shell',
  allow_list: 'the sealed list; AMESH_HOSTS is not set',
  default: 'nothing is set',
};

export const config = defineCommand({
  meta: { name: 'config', description: SUMMARIES.config },
  args: SHARED_ARGS,
  subCommands: {
    hosts: () => import('./config-hosts').then(({ configHosts }) => configHosts),
    relay: () => import('./config-relay').then(({ configRelay }) => configRelay),
  },

  async run(): Promise<Result> {
    const { trust, store } = await openMachine();
    const document = await trust.read();
    const { hosts, from } = answersTo(document);
    const dirFrom = process.env.AUTH_MESH_DIR ? 'AUTH_MESH_DIR' : 'default';
    const relay = await chooseRelay(undefined, store);
    const sealed = from === 'AMESH_HOSTS' ? [['sealed hosts', hostsText(document.hosts), 'not used']] : [];
    return {
      json: {
        dir: store.dir,
        dirFrom,
        hosts,
        hostsFrom: from,
        sealedHosts: document.hosts,
        relay: relay.url,
        relayFrom: relay.from,
      },
      data: table([
        ['folder', store.dir, `(${dirFrom})`],
        ['hosts', hostsText(hosts), `(${FROM[from]})`],
        ...sealed.map(([name = '', value = '', why]) => [name, value, `(${why})`]),
        ['relay', relay.url, `(${relay.from})`],
      ]),
      notes: [`  To add a host: ${here('amesh config hosts --add api.example.com')}`],
    };
  },
});
