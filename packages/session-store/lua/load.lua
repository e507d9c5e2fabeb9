-- Reads a session's record and its remaining life in one step, so that the two belong together (S5).
--
-- KEYS[1]  the record
-- returns  false if there is none, else { text, remaining life in ms (-1: no expiry) }; the text is empty where the session
--          was destroyed a moment ago, and starts with ">" where it has gone on under another key

local text = redis.call("GET", KEYS[1])
if not text then
  return false
end
return { text, redis.call("PTTL", KEYS[1]) }
