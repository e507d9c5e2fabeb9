-- A write of a session begins: until its token lapses, or its finish takes it, no server keeps what it reads of the record (C4).
--
-- KEYS[1]  the record's mark
-- ARGV[1]  the write's token
-- ARGV[2]  the longest time it may be pending, in ms
-- ARGV[3]  how many writes of one record may be pending
-- ARGV[4]  "end": it ends the session. Somebody must be able to sign out whatever is pending, and where no memory is left
-- returns  { the epoch, "begun" | "crowded" }

local mark, token, pendingMs = KEYS[1], ARGV[1], tonumber(ARGV[2])

if ARGV[4] == "end" then
  -- A server without memory stores nothing more, unless the script has written before.
  redis.call("HDEL", mark, token)
elseif redis.call("HLEN", mark) >= tonumber(ARGV[3]) and countPending(mark) >= tonumber(ARGV[3]) then
  return { epoch, "crowded" }
end
redis.call("HSET", mark, token, now() + pendingMs)
-- Of a mark that nobody asks for any more. It outlives its tokens, so that none ends before its time.
local lifeMs = pendingMs + 1000
if redis.call("PTTL", mark) < lifeMs then
  redis.call("PEXPIRE", mark, lifeMs)
end
return { epoch, "begun" }
