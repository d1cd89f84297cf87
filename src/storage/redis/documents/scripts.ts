// The scripts that Redis runs for a document store, each in one step.

/** The field of the document. Each page has a field under its own name, which is longer. */
export const DOCUMENT = 'document';

// A key of another type is not a document. It reads as empty, so that a swap can replace it.
export const READ = `local length = redis.pcall('HSTRLEN', KEYS[1], ARGV[1])
if type(length) == 'table' then
  if string.find(length.err, 'WRONGTYPE', 1, true) then return '' end
  return length
end
if length > tonumber(ARGV[2]) then return length end
return redis.call('HGET', KEYS[1], ARGV[1])`;

// A value that is too large for a page counts as missing, and is not sent.
export const READ_PAGES = `local pages = {}
for i = 2, #ARGV do
  local length = redis.pcall('HSTRLEN', KEYS[1], ARGV[i])
  pages[i - 1] = type(length) == 'number' and length <= tonumber(ARGV[1]) and redis.call('HGET', KEYS[1], ARGV[i])
end
return pages`;

// ARGV: the field, whether there was a document, the old and the new document, the number of pages to write, their names
// and bytes, and the names of the pages to remove.
export const SWAP = `local now = redis.pcall('HGET', KEYS[1], ARGV[1])
local isOther = type(now) == 'table'
if isOther then
  if not string.find(now.err, 'WRONGTYPE', 1, true) then return now end
  now = ''
end
if ARGV[2] == 'none' then
  if now then return 0 end
elseif now ~= ARGV[3] then
  return 0
end
if isOther then redis.call('DEL', KEYS[1]) end
local last = 5 + 2 * ARGV[5]
for i = 6, last, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
for i = last + 1, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
redis.call('PUBLISH', KEYS[1], 'changed')
return 1`;

export const DISCARD = `if redis.call('HSTRLEN', KEYS[1], ARGV[1]) > tonumber(ARGV[2]) then redis.call('DEL', KEYS[1]) end`;

// Uses the clock of Redis, since the clocks of instances may differ. A value that no instance has written is deleted.
export const CONFIRM = `if redis.call('HLEN', KEYS[1]) > 10000 then redis.call('DEL', KEYS[1]) end
local now = redis.call('TIME')[1]
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. now)
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  local at = string.match(redis.call('HGET', KEYS[1], name), '^%d+ (%d+)$')
  if not at or math.abs(now - at) > 30 then redis.call('HDEL', KEYS[1], name) end
end
redis.call('EXPIRE', KEYS[1], 60)`;

export const CONFIRMED = `if redis.call('HLEN', KEYS[1]) > 10000 then return redis.error_reply('ERR more than instances are') end
local now = redis.call('TIME')[1]
local revisions = {}
for _, text in ipairs(redis.call('HVALS', KEYS[1])) do
  local revision, at = string.match(text, '^(%d+) (%d+)$')
  if at and math.abs(now - at) <= 30 then revisions[#revisions + 1] = revision end
end
return revisions`;
