-- Before each script that needs it. C9: what names this primary, from one start or promotion to the next.

local info = redis.call("INFO", "replication")

-- A primary that was made a replica keeps its epoch until it has copied the new one, to which writes go by now.
if string.find(info, "role:slave", 1, true) then
  return redis.error_reply("READONLY A replica is not written to.")
end

local _, nameEnd = string.find(info, "master_replid:", 1, true)
local epoch = info:sub(nameEnd + 1, nameEnd + 16)
