-- Looks at members that are silent, and removes those whose leases have lapsed for certain.
--
-- C3: the caller has waited for long enough since it was told a number of renewals. Only if it is still that is the member removed, in
-- the same step: one that has renewed since stays.
--
-- ARGV[1]  the caller's generation
-- ARGV     then for each member: its nonce, and the number of renewals with which it is to be removed; empty: it is not
-- returns  { "over" }: another generation has begun, in which absence tells nothing (C9)
--          | { "seen", for each its row, or an empty text: it is gone }

if generationNow() ~= ARGV[1] then
  return { "over" }
end
local reply = { "seen" }
for i = 2, #ARGV, 2 do
  local name = rowOf(ARGV[i])
  local row = redis.call("HGET", KEYS[1], name) or ""
  if row ~= "" and string.match(row, "^%d+") == ARGV[i + 1] then
    redis.call("HDEL", KEYS[1], name)
    row = ""
  end
  reply[#reply + 1] = row
end
return reply
