-- Records that a session was used: lengthens its record's life.
--
-- S3: it never creates a record. S6: it never shortens a life that another request has given it.
--
-- KEYS[1]  the record
-- ARGV[1]  the life in ms; 0: leave it as it is
-- returns  "touched" | "gone" | "moved": it has gone on under another key

local start = redis.call("GETRANGE", KEYS[1], 0, 0)
if start == "" then
  return "gone"
end
if start == ">" then
  return "moved"
end
if ARGV[1] ~= "0" then
  redis.call("PEXPIRE", KEYS[1], ARGV[1], "GT")
end
return "touched"
