-- Notes a session in the index of its user, if the user may have one more.
--
-- S8: the index is a superset of the living, so this comes before the record is stored. A row that is there already is made
-- young again: whoever finds that its record is not this user's must not take it away now.
--
-- KEYS[1]  the index: a sorted set of rows by when they were added, in microseconds of Redis' clock
-- ARGV[1]  the row
-- ARGV[2]  how many rows there may be
-- returns  "added" | "full"

if not redis.call("ZSCORE", KEYS[1], ARGV[1]) and redis.call("ZCARD", KEYS[1]) >= tonumber(ARGV[2]) then
  return "full"
end
local time = redis.call("TIME")
redis.call("ZADD", KEYS[1], time[1] * 1000000 + time[2], ARGV[1])
return "added"
