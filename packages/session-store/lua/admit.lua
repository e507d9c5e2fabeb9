-- Notes a session in the index of its user, if the user may have one more.
--
-- S8: the index is a superset of the living, so this comes before the record is stored. A row that is there already is made
-- young again: whoever finds that its record is not this user's must not take it away now.
-- S7: a session that is being given a new id, or a new place, has two rows, its own and that of its draft. They count as one: a
-- draft's only where the other has gone. And they are of one age, or a sign-in that ends the oldest would end itself. A draft of
-- what is noted no more would count beside what that has become.
--
-- KEYS[1]  the index: a sorted set of rows by when they were added, in microseconds of Redis' clock; of drafts by the same
--          below 0, as their session's row was
-- ARGV[1]  the row
-- ARGV[2]  how many sessions there may be
-- ARGV[3]  of a draft: the row of the session, by which it is noted as "<row>{<row of the session>}"; else empty
-- returns  "added" | "full" | "stale": there is no such session

local isDraft = ARGV[3] ~= ""
local member = isDraft and ARGV[1] .. "{" .. ARGV[3] .. "}" or ARGV[1]
-- There are few: one for each rotation that is under way, or was when its server died.
local drafts = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", "(0")

local function sessions()
  local count = redis.call("ZCOUNT", KEYS[1], 0, "+inf")
  local seen = {}
  for _, draft in ipairs(drafts) do
    seen[string.match(draft, "^[^{]*")] = true
  end
  for _, draft in ipairs(drafts) do
    local origin = string.match(draft, "{(.*)}$")
    if not seen[origin] and not redis.call("ZSCORE", KEYS[1], origin) then
      seen[origin] = true
      count = count + 1
    end
  end
  return count
end

-- When the session was added that this is a draft of, which may have the row of a draft itself.
local since = isDraft and redis.call("ZSCORE", KEYS[1], ARGV[3])
for _, draft in ipairs(isDraft and drafts or {}) do
  local isOrigin = string.sub(draft, 1, #ARGV[3] + 1) == ARGV[3] .. "{"
  since = since or isOrigin and redis.call("ZSCORE", KEYS[1], draft)
end

if not redis.call("ZSCORE", KEYS[1], member) then
  if isDraft and not since then
    -- Somebody else has made it what it was to become, and it keeps its age.
    return redis.call("ZSCORE", KEYS[1], ARGV[1]) and "added" or "stale"
  end
  local count = isDraft and #drafts or sessions()
  if count >= tonumber(ARGV[2]) then
    return "full"
  end
end
local time = redis.call("TIME")
local addedAt = time[1] * 1000000 + time[2]
if isDraft then
  addedAt = -math.abs(since and tonumber(since) or addedAt)
end
redis.call("ZADD", KEYS[1], addedAt, member)
-- A record has one row: what it was a draft of before has got another id or place meanwhile, or a user.
if isDraft then
  redis.call("ZREM", KEYS[1], ARGV[1])
end
for _, draft in ipairs(drafts) do
  if draft ~= member and string.sub(draft, 1, #ARGV[1] + 1) == ARGV[1] .. "{" then
    redis.call("ZREM", KEYS[1], draft)
  end
end
return "added"
