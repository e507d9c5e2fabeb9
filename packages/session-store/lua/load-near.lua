-- Reads sessions' records as load.lua does, for who keeps copies; and tells which may not become one: those of which a write is
-- pending (C4).
--
-- KEYS     the records, then the mark of each
-- returns  for each record: false if there is none, else { text, remaining life in ms (-1: no expiry), the epoch of this primary (C9) if
--          it may become a copy, else an empty text }; 0: no string

local count = #KEYS / 2
-- What a primary that was made a replica does not have yet may be pending.
local info = redis.call("INFO", "replication")
local isReplica = string.find(info, "role:slave", 1, true)
local _, nameEnd = string.find(info, "master_replid:", 1, true)
local epoch = info:sub(nameEnd + 1, nameEnd + 16)
local records = {}
for at = 1, count do
  -- One that is something else must not keep the others from being read.
  local text = redis.pcall("GET", KEYS[at])
  if type(text) == "table" then
    if not string.find(text.err, "^WRONGTYPE") then
      return text
    end
    records[at] = 0
  else
    local mayKeep = text and not isReplica and countPending(KEYS[count + at]) == 0
    records[at] = text and { text, redis.call("PTTL", KEYS[at]), mayKeep and epoch or "" }
  end
end
return records
