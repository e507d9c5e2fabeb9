-- Before each script that needs it. C9: what names this primary, from one start or promotion to the next.

local info = redis.call("INFO", "server", "replication")

-- The first characters behind a name. A plain search, because a pattern would be tried at every character of the text, for
-- every script that is run.
local function field(name, length)
  local _, last = string.find(info, name, 1, true)
  return info:sub(last + 1, last + length)
end

local epoch = field("run_id:", 8) .. field("master_replid:", 8)

-- A primary that was made a replica keeps its epoch until it has copied the new one, to which writes go by now.
if string.find(info, "role:slave", 1, true) then
  return redis.error_reply("READONLY A replica is not read from.")
end

-- Whether the epoch is older than `ageMs`. The server knows its own age in whole seconds, which is the epoch's unless it was
-- promoted since (or started from a dump, which looks the same); then only a caller that has known the epoch for so long
-- can tell.
local function isOlderThan(ageMs, witnessed)
  if string.find(witnessed, epoch, 1, true) then
    return true
  end
  local uptimeMs = (tonumber(string.match(field("uptime_in_seconds:", 20), "%d+")) - 1) * 1000
  return uptimeMs >= ageMs and string.find(info, "second_repl_offset:-1", 1, true) ~= nil
end
