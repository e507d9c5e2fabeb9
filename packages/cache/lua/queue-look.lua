-- Tells how much waits in a partition.
--
-- KEYS[1]  rows by the time since which they have been waiting
-- KEYS[2]  dead letters
-- ARGV[1]  rows that have been waiting since then, in ms on this server's clock; "+inf": all
-- returns  { the time in ms, how many of those rows, for how long the oldest of all has waited in ms or -1, how many dead
--          letters }

local now = milliseconds()
local oldest = redis.call("ZRANGE", KEYS[1], 0, 0, "WITHSCORES")[2]
return {
  now,
  redis.call("ZCOUNT", KEYS[1], "-inf", ARGV[1]),
  oldest and math.max(0, now - oldest) or -1,
  redis.call("HLEN", KEYS[2]),
}
