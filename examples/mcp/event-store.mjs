const MOST = 1000;

/** Keeps the last events of a session, so that a client can ask for what it has missed. */
export function createEventStore() {
  const events = [];
  let next = 1;
  return {
    async storeEvent(streamId, message) {
      const id = String(next++);
      events.push({ id, streamId, message });
      if (events.length > MOST) events.shift();
      return id;
    },
    async replayEventsAfter(lastId, { send }) {
      const at = events.findIndex(({ id }) => id === lastId);
      if (at === -1) throw new Error('These events are no longer kept.');
      const { streamId } = events[at];
      for (const event of events.slice(at + 1))
        if (event.streamId === streamId) await send(event.id, event.message);
      return streamId;
    },
  };
}
