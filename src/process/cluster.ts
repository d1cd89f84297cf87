/** Whether this is a worker of `node:cluster`, as PM2 and Nitro start them, too: other processes serve the same port. */
export function isClusterWorker(): boolean {
  if (process.send === undefined) return false; // no child process, so the module need not be loaded
  const cluster: object = process.getBuiltinModule('node:cluster');
  return 'isWorker' in cluster && cluster.isWorker === true;
}
