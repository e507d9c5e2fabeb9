-- Reads entries from a replica, as they are, and how much of its primary's past it has: the caller judges whether that is enough.
-- Nothing is written and nobody gets a token, so whatever is no plain hit is for the primary to answer.
--
-- A mark need not be looked at: the begin of a write drops the entry in the same step (C4), and a replica applies scripts whole.
--
-- KEYS     the entries
-- returns  the replication id, or "" if this is no replica; its offset in that; then for each entry its whole text, or "" if there
--          is none, and what is left of its life and extension in ms

local info = redis.call("INFO", "replication")
local isReplica = string.find(info, "role:slave", 1, true) ~= nil
local replies = {
  isReplica and string.match(info, "master_replid:(%x+)") or "",
  isReplica and string.match(info, "slave_repl_offset:(%d+)") or "0",
}
for _, key in ipairs(KEYS) do
  replies[#replies + 1] = isReplica and redis.call("GET", key) or ""
  replies[#replies + 1] = isReplica and redis.call("PTTL", key) or 0
end
return replies
