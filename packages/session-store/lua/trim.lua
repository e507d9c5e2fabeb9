-- Takes a session out of the index of its user, unless it was added so lately that its record may still be on its way.
--
-- S8: the index is a superset of the living. Redis' own clock decides: servers' clocks differ.
--
-- KEYS[1]  the index: a sorted set of rows by when they were added, in microseconds of Redis' clock
-- ARGV[1]  the row
-- ARGV[2]  how long ago it must have been added, in ms
-- returns  "trimmed" | "young" | "none"

local addedAt = redis.call("ZSCORE", KEYS[1], ARGV[1])
if not addedAt then
  return "none"
end
local time = redis.call("TIME")
if tonumber(addedAt) + tonumber(ARGV[2]) * 1000 > time[1] * 1000000 + time[2] then
  return "young"
end
redis.call("ZREM", KEYS[1], ARGV[1])
return "trimmed"
