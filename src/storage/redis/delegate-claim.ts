/** The replies of {@link CLAIM} in addition to OK, and nil for a nonce that was claimed before: as SET does. */
export const FULL = 'FULL';

/**
 * Claims a nonce of the delegates of a device, whose nonces are members of one key. So they can be counted, all are in one slot
 * of a cluster, and it takes one command. Each claim removes some that are over; it never looks at all of them.
 */
export const CLAIM = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[2])
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16)) do
  redis.call('ZREM', KEYS[1], old)
end
if redis.call('ZSCORE', KEYS[1], ARGV[1]) then return false end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then return '${FULL}' end
redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
return 'OK'`;
