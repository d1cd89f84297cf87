/*
 * What the instances of a relay share in Redis. Each script runs as one atomic step.
 *
 * | key | value | kept |
 * | --- | --- | --- |
 * | `amesh:relay:code:<code>` | `open <instance> <session>`, `used <instance> <session>`, `used` or `over` | until the code may be
 * issued again |
 * | `amesh:relay:box:<box>` | `wait <instance> <session>`, `full <message as JSON>` or `done` | sessionMs |
 * | `amesh:relay:instance:<instance>` | `1`, the heartbeat of the instance | a few seconds |
 * | `amesh:relay:epoch` | a random ID, which Redis loses only with all other keys | for good |
 * | `amesh:relay:settling` | `1` | a moment after a new epoch |
 *
 * Messages to an instance go to the channel `amesh:relay:to:<instance>`.
 */
const PREFIX = 'amesh:relay:';

export const keys = {
  code: (code: string) => `${PREFIX}code:${code}`,
  box: (box: string) => `${PREFIX}box:${box}`,
  instance: (instance: string) => `${PREFIX}instance:${instance}`,
  channel: (instance: string) => `${PREFIX}to:${instance}`,
  epoch: `${PREFIX}epoch`,
  settling: `${PREFIX}settling`,
} as const;

/** KEYS epoch, settling; ARGV a new epoch, ms to settle. Returns the epoch, and how many ms of its settling are left. */
export const EPOCH = `
local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = ARGV[1]
  redis.call('SET', KEYS[1], epoch)
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[2])
end
return {epoch, redis.call('PTTL', KEYS[2])}`;

/** KEYS epoch, own instance, other instances; ARGV ms to live. Returns the epoch, and `1` for each other that lives. */
export const HEARTBEAT = `
redis.call('SET', KEYS[2], '1', 'PX', ARGV[1])
return redis.call('MGET', KEYS[1], unpack(KEYS, 3))`;

/** KEYS code, epoch; ARGV epoch, value, ms. An instance with an older epoch has not yet written which codes it issued. */
export const CLAIM = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 'forgotten' end
return redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) and 'claimed' or 'taken'`;

/** KEYS code; ARGV ms. Returns the value before. */
export const BURN = `
local value = redis.call('GET', KEYS[1])
local owner = value and value:match('^open (.+)$')
if owner then redis.call('SET', KEYS[1], 'used ' .. owner, 'PX', ARGV[1]) end
return value`;

/** KEYS code; ARGV the value if nobody has joined, ms. */
export const REST = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], 'over', 'PX', ARGV[2]) end`;

/** KEYS box; ARGV the value to store, ms, the channel prefix, the message before and after the ID of the session. */
export const POST = `
local value = redis.call('GET', KEYS[1])
if value then
  local instance, session = value:match('^wait (%S+) (%S+)$')
  if not instance then return 'used' end
  if redis.call('PUBLISH', ARGV[3] .. instance, ARGV[4] .. session .. ARGV[5]) > 0 then
    redis.call('SET', KEYS[1], 'done', 'KEEPTTL')
    return 'delivered'
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'stored'`;

/** KEYS box; ARGV the value while it waits, ms, the prefix of the instances' keys. */
export const WAIT = `
local value = redis.call('GET', KEYS[1])
if value then
  if value:sub(1, 5) == 'full ' then
    redis.call('SET', KEYS[1], 'done', 'KEEPTTL')
    return value
  end
  local instance = value:match('^wait (%S+)')
  if not instance or redis.call('EXISTS', ARGV[3] .. instance) == 1 then return 'used' end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'waiting'`;

/** KEYS box; ARGV the value if no message has come. */
export const LEAVE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end`;

/** KEYS box; ARGV the value if nobody has taken the message. The key of a taken message goes too: its place is lost. */
export const WITHDRAW = `
local value = redis.call('GET', KEYS[1])
if value == ARGV[1] or value == 'done' then redis.call('DEL', KEYS[1]) end`;
