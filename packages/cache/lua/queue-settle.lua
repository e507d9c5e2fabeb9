-- Rows are saved. Those that still are what was saved leave the queue, and their entries get an expiry; the others wait
-- again, from when they were taken.
--
-- KEYS[1], ARGV[1], ARGV[2]: see queue-lease.lua
-- KEYS[2]  the queue
-- KEYS[3]  rows by the time since which they have been waiting
-- KEYS[4]  rows that have failed alone
-- KEYS[5…] their entries
-- ARGV[3]  when they were taken, in ms on this server's clock
-- ARGV[4]  how long a row waits for others, in ms
-- ARGV[5…] for each its name in the queue, the version that was saved, the life of its entry in ms
-- returns  for each how long it has waited, in ms, or -1: a newer value waits | "lost": it does not hold the lease

if not holdsLease() then
  return "lost"
end
local now = milliseconds()
local waited = {}
for i = 5, #KEYS do
  local start = 5 + (i - 5) * 3
  local row, saved, lifeMs = ARGV[start], ARGV[start + 1], ARGV[start + 2]
  local entry = redis.call("GET", KEYS[i])
  redis.call("HDEL", KEYS[4], row)
  if isToBeSaved(KEYS[i], entry) and partsOf(entry) == saved then
    waited[#waited + 1] = math.max(0, now - (redis.call("ZSCORE", KEYS[3], row) or now))
    redis.call("PEXPIRE", KEYS[i], lifeMs)
    redis.call("ZREM", KEYS[2], row)
    redis.call("ZREM", KEYS[3], row)
  else
    waited[#waited + 1] = -1
    redis.call("ZADD", KEYS[2], "XX", ARGV[3] + ARGV[4], row)
    redis.call("ZADD", KEYS[3], "XX", ARGV[3], row)
  end
end
return waited
