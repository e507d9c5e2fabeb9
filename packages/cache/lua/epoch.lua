-- Before each script that needs it. C9: what names this primary, from one start or promotion to the next.

local info = redis.call("INFO", "replication")

-- The first characters behind a name. A plain search, because a pattern would be tried at every character of the text, for
-- every script that is run.
local function field(text, name, length)
  local _, last = string.find(text, name, 1, true)
  return text:sub(last + 1, last + length)
end

-- A primary gives itself a new one when it starts, from whatever file, and when it is promoted (Redis: changeReplicationId,
-- shiftReplicationId); also for the first replica that is attached to it.
local epoch = field(info, "master_replid:", 16)

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
  -- Here alone: it makes up most of what INFO takes.
  local uptime = field(redis.call("INFO", "server"), "uptime_in_seconds:", 20)
  local uptimeMs = (tonumber(string.match(uptime, "%d+")) - 1) * 1000
  return uptimeMs >= ageMs and string.find(info, "second_repl_offset:-1", 1, true) ~= nil
end
