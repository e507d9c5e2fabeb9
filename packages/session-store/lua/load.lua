-- Reads sessions' records and what is left of their lives in one step, so that each text and its life belong together (S5).
--
-- KEYS     the records
-- returns  for each: false if there is none, else { text, remaining life in ms (-1: no expiry) }; the text is empty where the
--          session was destroyed a moment ago, and starts with ">" where it has gone on under another key; 0: no string

local records = {}
for at, key in ipairs(KEYS) do
  -- One that is something else must not keep the others from being read.
  local text = redis.pcall("GET", key)
  if type(text) == "table" then
    if not string.find(text.err, "^WRONGTYPE") then
      return text
    end
    records[at] = 0
  else
    records[at] = text and { text, redis.call("PTTL", key) }
  end
end
return records
