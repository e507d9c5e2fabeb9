-- A row could not be saved, alone: it waits, so that others are saved before it. That it is its own fault, and not that of a
-- source that is down, is only counted where the source has saved another after it failed before, and before it was tried
-- now; after so many times it becomes a dead letter, unless it has a newer value, which nobody has tried yet.
--
-- KEYS[1], ARGV[1], ARGV[2]: see queue-lease.lua
-- KEYS[2]  the queue
-- KEYS[3]  rows by the time since which they have been waiting
-- KEYS[4]  rows that have failed alone: how often by their own fault, and when they last did
-- KEYS[5]  dead letters: their versions, and how often they have failed
-- KEYS[6]  its entry
-- ARGV[3]  its name in the queue
-- ARGV[4]  the version that was to be saved
-- ARGV[5]  when the source had last saved another, in ms on this server's clock, when this row was tried; -1: it had not
-- ARGV[6]  how often a row may fail
-- ARGV[7]  how long it waits at first, in ms
-- ARGV[8]  and at most
-- returns  "waiting" | "dead" | "lost": the caller does not hold the lease

if not holdsLease() then
  return "lost"
end
local row = ARGV[3]
local now = milliseconds()
local failures, last = string.match(redis.call("HGET", KEYS[4], row) or "", "(%d+) (%d+)")
failures = tonumber(failures or "0")
local isItsFault = last and tonumber(ARGV[5]) > tonumber(last)
if isItsFault then
  failures = failures + 1
end
local entry = redis.call("GET", KEYS[6])
if isItsFault and failures >= tonumber(ARGV[6]) and isToBeSaved(KEYS[6], entry) and partsOf(entry) == ARGV[4] then
  redis.call("ZREM", KEYS[2], row)
  redis.call("ZREM", KEYS[3], row)
  redis.call("HDEL", KEYS[4], row)
  redis.call("HSET", KEYS[5], row, ARGV[4] .. " " .. failures)
  return "dead"
end
-- A failure that arrives again is of a row that may have been saved since.
if not redis.call("ZSCORE", KEYS[2], row) then
  return "waiting"
end
redis.call("HSET", KEYS[4], row, failures .. " " .. digits(now))
redis.call("ZADD", KEYS[2], "XX", digits(now + math.min(ARGV[7] * 4 ^ failures, ARGV[8])), row)
return "waiting"
