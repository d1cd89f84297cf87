/**
 * For tests of servers behind `verify()`, and of their clients: a machine and its callers in memory, with a clock to turn. Every
 * check is real. The other entries do not use this code.
 *
 * @module
 */

export type { TestApp } from '../testing/app/app';
export type { CallerOptions, DelegateOptions, TestCaller, TestDelegate } from '../testing/caller';
export type { TestClock } from '../testing/clock';
export { createTestMesh, type Stranger, type TestMesh, type TestMeshOptions } from '../testing/mesh';
