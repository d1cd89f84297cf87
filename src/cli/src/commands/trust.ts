import { defineCommand } from 'citty';
import { SHARED_ARGS } from '../command-line/command';
import { SUMMARIES } from './summaries';

export const trust = defineCommand({
  meta: { name: 'trust', description: SUMMARIES.trust },
  args: SHARED_ARGS,
  subCommands: {
    export: () => import('./trust-export').then(({ trustExport }) => trustExport),
    add: () => import('./trust-add').then(({ trustAdd }) => trustAdd),
    'hand-over': () => import('./trust-hand-over').then(({ trustHandOver }) => trustHandOver),
    'take-over': () => import('./trust-take-over').then(({ trustTakeOver }) => trustTakeOver),
    reset: () => import('./trust-reset').then(({ trustReset }) => trustReset),
  },
});
