/** A reply of {@link CLAIM}. The others are those of SET: OK, and nil for a nonce that was claimed before. */
export const FULL = 'FULL';

/**
 * Claims a nonce of the delegates of a device. These nonces are members of one key: so they can be counted, they are in one slot of
 * a cluster, and a claim takes one command. Each claim removes some expired nonces; it never looks at all of them.
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
