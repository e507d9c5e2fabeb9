-- A member leaves, and serves no copy any more.
--
-- ARGV[1]  its nonce
-- returns  1, or 0 if it was in no group

return redis.call("HDEL", KEYS[1], rowOf(ARGV[1]))
