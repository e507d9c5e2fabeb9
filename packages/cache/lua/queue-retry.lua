-- Queues dead letters again, as if they had never failed.
--
-- KEYS[1]  dead letters
-- KEYS[2]  the queue
-- KEYS[3]  rows by the time since which they have been waiting
-- ARGV     their names
-- returns  how many were queued

local now = digits(milliseconds())
local queued = 0
for _, row in ipairs(ARGV) do
  if redis.call("HDEL", KEYS[1], row) == 1 then
    redis.call("ZADD", KEYS[2], now, row)
    redis.call("ZADD", KEYS[3], now, row)
    queued = queued + 1
  end
end
return queued
