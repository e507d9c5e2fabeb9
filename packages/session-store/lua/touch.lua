-- Records that a session was used: lengthens its record's life.
--
-- S3: it never creates a record. S6: it never shortens a life that another request has given it.
--
-- KEYS[1]  the record
-- ARGV[1]  the life in ms; -1: leave it as it is
-- returns  "touched" | "gone" | "moved": it has gone on under another key

local start = redis.call("GETRANGE", KEYS[1], 0, 1)
if start == "" or start == ">x" then
  return "gone"
end
if string.sub(start, 1, 1) == ">" then
  return "moved"
end
if ARGV[1] ~= "-1" then
  redis.call("PEXPIRE", KEYS[1], ARGV[1], "GT")
end
return "touched"
