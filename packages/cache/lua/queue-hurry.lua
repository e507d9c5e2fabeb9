-- Makes all that waits in a partition due, whoever saves it.
--
-- KEYS[1]  the queue
-- KEYS[2]  rows by the time since which they have been waiting
-- KEYS[3]  what is due by then is due now, in ms on this server's clock
-- ARGV[1]  how long a row waits for others, in ms
-- ARGV[2]  how long a row is told to wait at most, in ms
-- ARGV[3]  for how long this is remembered, in ms
-- returns  the time in ms: what has been waiting since then, or longer, is due | -1: to be asked again

local now = milliseconds()
-- Another drain may wait for longer.
local lifeMs = math.max(ARGV[3], redis.call("PTTL", KEYS[3]))
-- See queue-lease.lua: rows must leave most of all when there is no memory.
redis.call("DEL", KEYS[3])
redis.call("SET", KEYS[3], digits(now + ARGV[1]), "PX", digits(lifeMs))
return areTimesMended(KEYS[1], KEYS[2], now, ARGV[2]) and now or -1
