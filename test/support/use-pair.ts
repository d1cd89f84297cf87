import { afterAll, beforeAll, beforeEach } from 'vitest';
import { createMachines, type Machines } from './machines';

/** Two machines for a whole test file, the target of which has refused nobody when a test begins. */
export function usePair(): Omit<Machines, 'remove'> {
  let machines: Machines;
  beforeAll(async () => {
    machines = await createMachines();
  });
  afterAll(() => machines.remove());
  beforeEach(() => {
    machines.refusals.length = 0;
  });
  return {
    get controller() {
      return machines.controller;
    },
    get target() {
      return machines.target;
    },
    get signer() {
      return machines.signer;
    },
    get controllerId() {
      return machines.controllerId;
    },
    get controllerDir() {
      return machines.controllerDir;
    },
    get refusals() {
      return machines.refusals;
    },
    targetWith: (options) => machines.targetWith(options),
    controllerWith: (options) => machines.controllerWith(options),
  };
}
