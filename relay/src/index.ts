/** Says that the relay is not part of this release. Pairing without a relay works: see `amesh trust export`. */
export function main(): never {
  console.error('amesh-relay is coming in a later release. Pair without a relay: amesh trust export');
  process.exit(1);
}
