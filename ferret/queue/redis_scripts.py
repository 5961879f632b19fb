"""What the Redis queue does in Redis itself, each as one step that happens whole or not at all (EVAL, Lua 5.1).

Keys of a queue NAME, all with the same hash tag so that they lie on one node of a cluster:

    {NAME}:about       hash: capacity, count (of all messages ever put), reader (token of the one who reads)
    {NAME}:priorities  sorted set of the priorities that have a stream
    {NAME}:PRIORITY    stream of that priority; IDs are explicit: "count-0", so they count up over all writers
    {NAME}:writers     hash: of each writer the number of its last message that is stored

A message is deleted from its stream once it is acknowledged: what is in a stream is undelivered or on its way.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "recorder"

_HEAD: Final = """
local about, priorities, writers = KEYS[1] .. ':about', KEYS[1] .. ':priorities', KEYS[1] .. ':writers'
local function stream(priority) return KEYS[1] .. ':' .. priority end
local function waiting()
  local sum = 0
  for _, priority in ipairs(redis.call('ZRANGE', priorities, 0, -1)) do
    sum = sum + redis.call('XLEN', stream(priority)) - redis.call('XPENDING', stream(priority), 'recorder')[1]
  end
  return sum
end
"""

CREATE: Final = (
    _HEAD
    + """
if redis.call('EXISTS', about) == 1 then return 0 end
redis.call('HSET', about, 'capacity', ARGV[1], 'count', 0)
return 1
"""
)
"""capacity -> 1, or 0 where it was there."""

PUT: Final = (
    _HEAD
    + """
local capacity = redis.call('HGET', about, 'capacity')
if not capacity then return -1 end
local writer, number, priority = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local last = tonumber(redis.call('HGET', writers, writer) or 0)
local room, done = tonumber(capacity) - waiting(), 0
for place = 4, #ARGV do
  if number + done > last then
    if room <= 0 then break end
    if redis.call('ZADD', priorities, priority, priority) == 1 then
      redis.call('XGROUP', 'CREATE', stream(priority), 'recorder', '0', 'MKSTREAM')
    end
    local id = redis.call('HINCRBY', about, 'count', 1)
    redis.call('XADD', stream(priority), string.format('%.0f-0', id), 'm', ARGV[place])
    redis.call('HSET', writers, writer, string.format('%.0f', number + done))
    room = room - 1
  end
  done = done + 1
end
if done > 0 then redis.call('PUBLISH', KEYS[1] .. ':bell', '1') end
return done
"""
)
"""writer, number of the first message, priority, messages -> how many are stored now (or were before); -1: no queue."""

READ: Final = (
    _HEAD
    + """
if redis.call('EXISTS', about) == 0 then return -1 end
redis.call('HSET', about, 'reader', ARGV[1])
for _, priority in ipairs(redis.call('ZRANGE', priorities, 0, -1)) do
  redis.call('XGROUP', 'DESTROY', stream(priority), 'recorder')
  redis.call('XGROUP', 'CREATE', stream(priority), 'recorder', '0')
end
return waiting()
"""
)
"""token -> become the one reader; what an earlier one had taken and not acknowledged is undelivered again."""

TAKE: Final = (
    _HEAD
    + """
if redis.call('HGET', about, 'reader') ~= ARGV[1] then return -1 end
local left, keep, taken = tonumber(ARGV[2]), ARGV[3] == '1', {}
for _, priority in ipairs(redis.call('ZREVRANGE', priorities, 0, -1)) do
  if left <= 0 then break end
  local found = redis.call('XREADGROUP', 'GROUP', 'recorder', 'reader', 'COUNT', left, 'STREAMS', stream(priority), '>')
  if found then
    for _, entry in ipairs(found[1][2]) do
      taken[#taken + 1] = {priority, entry[1], entry[2][2]}
      left = left - 1
      if not keep then
        redis.call('XACK', stream(priority), 'recorder', entry[1])
        redis.call('XDEL', stream(priority), entry[1])
      end
    end
  end
end
return {waiting(), taken}
"""
)
"""token, how many, "1" to keep them until acknowledged -> waiting, [[priority, id, message]]; -1: another one reads."""

ACKNOWLEDGE: Final = (
    _HEAD
    + """
if redis.call('HGET', about, 'reader') ~= ARGV[1] then return -1 end
for place = 2, #ARGV, 2 do
  redis.call('XACK', stream(ARGV[place]), 'recorder', ARGV[place + 1])
  redis.call('XDEL', stream(ARGV[place]), ARGV[place + 1])
end
return (#ARGV - 1) / 2
"""
)
"""token, priority and id of each -> how many."""

DEPTH: Final = (
    _HEAD
    + """
if redis.call('EXISTS', about) == 0 then return -1 end
return waiting()
"""
)

REMOVE: Final = (
    _HEAD
    + """
for _, priority in ipairs(redis.call('ZRANGE', priorities, 0, -1)) do redis.call('DEL', stream(priority)) end
return redis.call('DEL', about, priorities, writers)
"""
)
