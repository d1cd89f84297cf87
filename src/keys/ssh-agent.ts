import { randomBytes } from 'node:crypto';
import type { KeyContext } from './backend';
import { notHere } from './errors/not-here';
import { KeyFiles, lostKey } from './key-files';
import type { KeyMethods } from './late-backend';
import { Agent, assertOneSocket, findAgent } from './ssh-agent/agent';
import { chooseKey, namesOf, nothingUsable, usableOf } from './ssh-agent/choose';
import { absent, explain } from './ssh-agent/problems';
import { type AgentKey, fingerprintOf } from './ssh-agent/public-key';
import { fromReference, type Reference, toReference } from './ssh-agent/reference';
import { AgentSigner } from './ssh-agent/signer';

const files = new KeyFiles('.ssh-agent.pub');
const FORWARDED =
  'This agent seems to be forwarded from the machine that you are logged in from: the key works only while that machine is connected, and during that time root on this machine can use it, too.';
const TEST_MESSAGE = new TextEncoder().encode('amesh tests a new key');

/**
 * A private key that an SSH agent holds: ssh-agent itself, or a program that speaks its protocol (RFC 9987) for a Secure
 * Enclave, a TPM, a smart card or a USB token. The folder of the identity only records which key it is.
 *
 * @see docs/keys.md
 */
export const sshAgent: KeyMethods = Object.freeze({
  async describe(context: KeyContext, ref?: string) {
    const reference = ref === undefined ? undefined : await readReference(ref, context);
    const place = findAgent(context.env, reference?.socket ?? context.agentSocket);
    const name = reference === undefined ? '' : ` as ${fingerprintOf(reference.blob)}`;
    return `In the SSH agent at ${place.path}${name}: a program that can use this socket can use the key. Only the agent knows who could copy it: nobody if hardware keeps it.${place.isForwarded ? ` ${FORWARDED}` : ''}`;
  },

  async probe(context: KeyContext, ref?: string) {
    const hardware = false; // an agent does not say
    try {
      if (ref !== undefined) {
        await openKey(ref, context);
        return { available: true, hardware };
      }
      const { agent, keys } = await listKeys(context, context.agentSocket);
      const usable = usableOf(keys);
      if (usable.length === 0) throw nothingUsable(keys);
      const note = `Keys that amesh could use: ${namesOf(usable)}.`;
      return { available: true, hardware, note, ...(agent.place.isForwarded && { warning: FORWARDED }) };
    } catch (error) {
      return { ...notHere(error), hardware };
    }
  },

  async create(context: KeyContext) {
    assertOneSocket(context.env, context.agentSocket);
    const { agent, keys } = await listKeys(context, context.agentSocket);
    const key = chooseKey(keys, context.agentKey);
    const publicKey = await testKey(agent, key);
    // The file is not named by the key: the identity that this one replaces may have the same key, and keeps its file.
    const ref = files.refOf(randomBytes(12));
    await files.write(ref, toReference(key, context.agentSocket), context);
    return { ref, publicKey };
  },

  async open(ref: string, context: KeyContext) {
    return openKey(ref, context);
  },

  /** The key stays in the agent, since other programs may use it. */
  async remove(ref: string, context: KeyContext) {
    await files.remove(ref, context);
  },
} satisfies KeyMethods);

async function openKey(ref: string, context: KeyContext): Promise<AgentSigner> {
  const { blob, socket } = await readReference(ref, context);
  const { agent, keys } = await listKeys(context, socket); // now, and not at the first request
  const fingerprint = fingerprintOf(blob);
  if (!keys.some((key) => fingerprintOf(key.blob) === fingerprint)) throw absent(agent, fingerprint, keys);
  return AgentSigner.of(agent, blob);
}

async function listKeys(context: KeyContext, socket: string | undefined) {
  const agent = new Agent(findAgent(context.env, socket), context);
  const keys = await agent.list().catch(async (error) => {
    throw await explain(error, agent);
  });
  return { agent, keys };
}

/** @returns the compressed point, 33 bytes. Without this test, a faulty agent would be noticed only at the first request. */
async function testKey(agent: Agent, { blob }: AgentKey): Promise<Uint8Array> {
  try {
    const signer = await AgentSigner.of(agent, blob);
    await signer.sign(TEST_MESSAGE);
    return signer.publicKey;
  } catch (error) {
    throw await explain(error, agent);
  }
}

async function readReference(ref: string, context: KeyContext): Promise<Reference> {
  const reference = fromReference(await files.read(ref, context));
  if (reference === null) throw damaged(ref);
  return reference;
}

function damaged(ref: string) {
  return lostKey(`The key file ${ref} is damaged.`);
}
