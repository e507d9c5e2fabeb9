-- Takes or renews the lease of a partition that has rows, and tells which are due.
--
-- KEYS[1], ARGV[1], ARGV[2]: see queue-lease.lua
-- KEYS[2]  the queue
-- ARGV[3]  how many rows
-- ARGV[4]  rows that are due by then are due now, in ms on this server's clock
-- ARGV[5]  how old the epoch must be for a lease to be taken, in ms
-- ARGV[6]  epochs that the caller has known for that long
-- returns  { the epoch, the time in µs, "held", when the next row is due in ms, the rows that are… }
--          | { the epoch, the time in µs, "idle" | "taken" | "young" }

local time = microseconds()
local next = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")
if #next == 0 then
  return { epoch, digits(time), "idle" }
end
if not holdsLease() then
  if redis.call("EXISTS", KEYS[1]) == 1 then
    return { epoch, digits(time), "taken" }
  end
  -- C9: somebody's lease may have been lost, and with it the only sign that a save is under way.
  if not isOlderThan(tonumber(ARGV[5]), ARGV[6]) then
    return { epoch, digits(time), "young" }
  end
  -- See queue-lease.lua: rows must leave most of all when there is no memory.
  redis.call("DEL", KEYS[1])
  redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
end
local by = math.max(time / 1000, tonumber(ARGV[4]))
local due = redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", digits(by), "LIMIT", 0, ARGV[3])
return { epoch, digits(time), "held", next[2], unpack(due) }
