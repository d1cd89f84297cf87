import { type Amesh, createAmesh } from '../amesh';

/** The instance of this machine's folder (AUTH_MESH_DIR, default ~/.amesh). It reads nothing before its first use. */
export const amesh: Amesh = createAmesh();
