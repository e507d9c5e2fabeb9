-- Notes a session in the index of its user, if the user may have one more.
--
-- S8: the index is a superset of the living, so this comes before the record is stored.
--
-- KEYS[1]  the index: a sorted set of rows by when they were added
-- ARGV[1]  the row
-- ARGV[2]  how many rows there may be; 0: any number
-- returns  "added" | "full"

if redis.call("ZSCORE", KEYS[1], ARGV[1]) then
  return "added"
end
if ARGV[2] ~= "0" and redis.call("ZCARD", KEYS[1]) >= tonumber(ARGV[2]) then
  return "full"
end
local time = redis.call("TIME")
redis.call("ZADD", KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000), ARGV[1])
return "added"
