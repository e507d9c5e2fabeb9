-- Takes a session out of the index of its user, unless it was added so lately that its record may still be on its way.
--
-- S8: the index is a superset of the living. Redis' own clock decides: servers' clocks differ. What a draft may become lives by
-- then, so its row is there: where that has gone no draft of it is on its way to anything.
--
-- KEYS[1]  the index: a sorted set of rows by when they were added, in microseconds of Redis' clock; of drafts below 0, see
--          admit.lua
-- ARGV[1]  the row
-- ARGV[2]  how long ago it must have been added, in ms; 0: whenever that was
-- ARGV[3]  of a draft: the row of the session that it is a draft of; empty: if there is no such row, a draft's is meant
-- returns  { "trimmed" | "young" | "none", the row of each draft of it }

local function find(row)
  if redis.call("ZSCORE", KEYS[1], row) then
    return row
  end
  for _, draft in ipairs(redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", "(0")) do
    if string.sub(draft, 1, #row + 1) == row .. "{" then
      return draft
    end
  end
end

local function reply(verdict)
  local found = { verdict }
  local own = "{" .. ARGV[1] .. "}"
  for _, draft in ipairs(redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", "(0")) do
    if string.sub(draft, -#own) == own then
      found[#found + 1] = string.match(draft, "^[^{]*")
    end
  end
  return found
end

local member = ARGV[3] == "" and find(ARGV[1]) or ARGV[1] .. "{" .. ARGV[3] .. "}"
local addedAt = redis.call("ZSCORE", KEYS[1], member)
if not addedAt then
  return reply("none")
end
local time = redis.call("TIME")
local settledAt = tonumber(addedAt) + tonumber(ARGV[2]) * 1000
local origin = string.match(member, "{(.*)}$")
local isYoung
if origin then
  isYoung = find(origin)
else
  isYoung = settledAt > time[1] * 1000000 + time[2]
end
if isYoung and ARGV[2] ~= "0" then
  return reply("young")
end
redis.call("ZREM", KEYS[1], member)
return reply("trimmed")
