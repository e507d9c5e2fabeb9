-- Stores a session's record whatever is there.
--
-- KEYS[1]  the record
-- ARGV[1]  the text
-- ARGV[2]  its life in ms; -1: no expiry
-- returns  "stored"

if ARGV[2] == "-1" then
  redis.call("SET", KEYS[1], ARGV[1])
else
  redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
end
return "stored"
