-- Takes or renews the lease of a partition that has rows, and tells which are due. Where there are none it gives the lease
-- back.
--
-- KEYS[1], ARGV[1], ARGV[2]: see queue-lease.lua
-- KEYS[2]  the queue
-- KEYS[3]  rows by the time since which they have been waiting
-- KEYS[4]  rows that are due by then are due now: see queue-hurry.lua
-- KEYS[5]  rows that have failed alone
-- ARGV[3]  how many rows
-- ARGV[4]  how long a row is told to wait at most, in ms
-- ARGV[5]  how old the epoch must be for a lease to be taken, in ms
-- ARGV[6]  epochs that the caller has known for that long
-- ARGV[7]  "done": the caller has no save under way
-- returns  { the epoch, the time in µs, "held", when the next row is due in ms, the rows that are… }
--          | { the epoch, the time in µs, "idle" | "taken" | "young" }

local time = microseconds()
if redis.call("EXISTS", KEYS[2]) == 0 then
  if ARGV[7] == "done" and redis.call("GET", KEYS[1]) == ARGV[1] then
    redis.call("DEL", KEYS[1])
  end
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
local now = math.floor(time / 1000)
areTimesMended(KEYS[2], KEYS[3], now, ARGV[4])
local due = redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", digits(now), "LIMIT", 0, ARGV[3])
local hurried = redis.call("GET", KEYS[4])
local free = ARGV[3] - #due
if hurried and free > 0 then
  local failed = redis.call("HLEN", KEYS[5])
  local rows = redis.call("ZRANGEBYSCORE", KEYS[2], "(" .. digits(now), hurried, "LIMIT", 0, free + failed)
  for _, row in ipairs(rows) do
    -- One that has failed alone waits as it was told to: it would come first again and again.
    if free > 0 and redis.call("HEXISTS", KEYS[5], row) == 0 then
      due[#due + 1] = row
      free = free - 1
    end
  end
end
local next = redis.call("ZRANGE", KEYS[2], 0, 0, "WITHSCORES")
return { epoch, digits(time), "held", next[2], unpack(due) }
