-- Before each script that needs it. C9: what names this primary, from one start or promotion to the next.

local info = redis.call("INFO", "server", "replication")
local epoch = string.match(info, "run_id:(%x+)"):sub(1, 8) .. string.match(info, "master_replid:(%x+)"):sub(1, 8)

-- Whether the epoch is older than `ageMs`. The server knows its own age in whole seconds, which is the epoch's unless it was
-- promoted since (or started from a dump, which looks the same); then only a caller that has known the epoch for so long
-- can tell.
local function isOlderThan(ageMs, witnessed)
  if string.find(witnessed, epoch, 1, true) then
    return true
  end
  local uptimeMs = (tonumber(string.match(info, "uptime_in_seconds:(%d+)")) - 1) * 1000
  return uptimeMs >= ageMs and string.find(info, "second_repl_offset:-1", 1, true) ~= nil
end
