-- Ends a session: its record becomes an empty text, which reads as none.
--
-- S3: a commit that is still on its way, that of a session just born included, finds the empty text and stores nothing. So
-- it must live longer than such a commit can.
--
-- KEYS[1]  the record, there or not
-- ARGV[1]  the life of the empty text in ms
-- ARGV[2]  the channel to tell, and
-- ARGV[3]  what to tell it, if a session has ended by this
-- returns  the text that was there; false: there was none, or nothing that is a record

-- Whatever somebody has put there, a list say, ends too.
local text = redis.pcall("GET", KEYS[1])
-- A server without memory stores nothing more, unless the script has written before: somebody must be able to sign out there.
redis.call("DEL", KEYS[1])
redis.call("SET", KEYS[1], "", "PX", ARGV[1])
if type(text) ~= "string" or text == "" then
  return false
end
if string.sub(text, 1, 1) ~= ">" then
  redis.pcall("PUBLISH", ARGV[2], ARGV[3])
end
return text
