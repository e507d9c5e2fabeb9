-- A write begins: until its token lapses or `end` takes it, nothing is served from the cache and nothing may be filled (C4).
--
-- C5: the entry goes, and with it any fill token.
-- Of two writes that overlap, and of one that begins in a young epoch (C9: it may overlap with one whose mark was lost),
-- nobody can say whose value is the last: what they give is not stored.
--
-- KEYS[1]  the entry
-- KEYS[2]  its mark
-- ARGV[1]  the write's token
-- ARGV[2]  the longest time it may be pending, in ms
-- ARGV[3]  how old the epoch must be for its value to be stored, in ms
-- ARGV[4]  epochs that the caller has known for that long
-- ARGV[5]  how many writes of one entry may be pending
-- returns  { the epoch, "begun" | "crowded" }

local others = pendingTokens(KEYS[2])
if #others >= tonumber(ARGV[5]) then
  return { epoch, "crowded" }
end
local state = now() + ARGV[2]
if #others > 0 or not isOlderThan(tonumber(ARGV[3]), ARGV[4]) then
  dropAtEnd(KEYS[2], others)
  state = state .. " drop"
end
redis.call("HSET", KEYS[2], ARGV[1], state)
redis.call("DEL", KEYS[1])
return { epoch, "begun" }
