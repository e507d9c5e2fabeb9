-- Stores a session's record, if it is still what the writer has seen.
--
-- S1: a changed record is never overwritten unseen; the writer gets it back and merges.
-- S3: a record that is gone is never written again; one that was born here never replaces another, and an id that was
--     destroyed a moment ago (an empty text) is not born again by a commit that was still on its way.
--
-- KEYS[1]  the record
-- ARGV[1]  the record's text as the writer knows it; empty: the session was born in this request
-- ARGV[2]  the new text
-- ARGV[3]  its life in ms; -1: no expiry; "kept": that of the text it replaces
-- ARGV[4]  the channel to tell, and
-- ARGV[5]  what to tell it; empty: nothing
-- returns  "stored" | "again": it was stored already | "gone" | { "conflict", the current text }

local current = redis.call("GET", KEYS[1])

-- No two texts are alike, so this is the same commit, which the client has sent again after a lost connection. It is written
-- again: WAIT, which may follow, speaks of what this connection has written.
if current == ARGV[2] then
  redis.call("SET", KEYS[1], current, "KEEPTTL")
  return "again"
end
if current == "" or (ARGV[1] ~= "" and not current) then
  return "gone"
end
if current and current ~= ARGV[1] then
  return { "conflict", current }
end

if ARGV[3] == "-1" then
  redis.call("SET", KEYS[1], ARGV[2])
elseif ARGV[3] == "kept" then
  redis.call("SET", KEYS[1], ARGV[2], "KEEPTTL")
else
  redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
end
if ARGV[5] ~= "" then
  -- A user without the right to publish has stored all the same.
  redis.pcall("PUBLISH", ARGV[4], ARGV[5])
end
return "stored"
