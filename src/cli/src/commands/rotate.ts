import { defineCommand } from 'citty';
import { SHARED_ARGS } from '../command-line/command';

export const rotate = defineCommand({
  meta: { name: 'rotate', description: 'Replaces the key of a machine by another one' },
  args: SHARED_ARGS,
  subCommands: {
    accept: () => import('./rotate-accept').then(({ rotateAccept }) => rotateAccept),
    refuse: () => import('./rotate-refuse').then(({ rotateRefuse }) => rotateRefuse),
  },
});
