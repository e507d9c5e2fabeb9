-- Ends a session: its record becomes an empty text, which reads as none.
--
-- S3: a commit that is still on its way, that of a session just born included, finds the empty text and stores nothing. So
-- it must live longer than such a commit can.
-- A forward stays: who ends a session by its old id ends what that leads to first, or a lost answer would hide the way. Where
-- that ends too, what it leaves leads nowhere and is not empty: the session itself may live, under the new id (S8).
--
-- KEYS[1]  the record, there or not
-- ARGV[1]  the life of the empty text in ms
-- ARGV[2]  the channel to tell, and
-- ARGV[3]  what to tell it, if a session has ended by this
-- ARGV[4]  "whole": end a forward too, which ends a session that is still moving; else "record"
-- returns  the text that was there; false: there was none, or nothing that is a record

-- Whatever somebody has put there, a list say, ends too.
local text = redis.pcall("GET", KEYS[1])
local isText = type(text) == "string"
local isForward = isText and string.sub(text, 1, 1) == ">"
local isMoving = isText and string.sub(text, 1, 2) == ">m"
if isForward and ARGV[4] == "record" then
  return text
end
-- A server without memory stores nothing more, unless the script has written before: somebody must be able to sign out there.
redis.call("DEL", KEYS[1])
if isForward and not isMoving then
  redis.call("SET", KEYS[1], ">x", "PX", ARGV[1])
  return text
end
redis.call("SET", KEYS[1], "", "PX", ARGV[1])
if not isText or text == "" then
  return false
end
if not isMoving or #text > 2 then
  redis.pcall("PUBLISH", ARGV[2], ARGV[3])
end
return text
