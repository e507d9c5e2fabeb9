-- Makes a draft's row that of its session, whose old id has just been replaced: there is one row again.
--
-- S7: in one step, so that the session is counted once at any time. No other draft of the old id can replace it any more.
-- S8: a draft that is noted no more has been ended; its row does not come back.
--
-- KEYS[1]  the index: a sorted set of rows by when they were added; of drafts below 0, see admit.lua
-- ARGV[1]  the row of the draft
-- ARGV[2]  the row of the session by its old id
-- returns  "promoted" | "none"

local own = "{" .. ARGV[2] .. "}"
local addedAt = redis.call("ZSCORE", KEYS[1], ARGV[1] .. own)
redis.call("ZREM", KEYS[1], ARGV[2])
for _, draft in ipairs(redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", "(0")) do
  local isOld = string.sub(draft, 1, #ARGV[2] + 1) == ARGV[2] .. "{"
  if isOld or string.sub(draft, -#own) == own then
    redis.call("ZREM", KEYS[1], draft)
  end
end
if not addedAt then
  return "none"
end
redis.call("ZADD", KEYS[1], math.abs(tonumber(addedAt)), ARGV[1])
return "promoted"
