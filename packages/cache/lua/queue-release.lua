-- Gives the lease of a partition back, so that another server need not wait until it lapses.
--
-- KEYS[1]  the lease
-- ARGV[1]  the flusher's token
-- returns  "released" | "lost"

if redis.call("GET", KEYS[1]) ~= ARGV[1] then
  return "lost"
end
redis.call("DEL", KEYS[1])
return "released"
