-- Stores what was loaded, or gives the token back.
--
-- C5: only with the token that the load was given, once, and in its epoch (C9); a write that has begun since has voided it,
-- so that a slow load can't put an old value over a newer one.
--
-- KEYS  the entries
-- ARGV  for each entry: the token, the text to store, its life in ms; life 0: the token is given back
-- returns  for each entry "stored" | "released" | "refused"

local replies = {}
for i, key in ipairs(KEYS) do
  local token, text, lifeMs = ARGV[i * 3 - 2], ARGV[i * 3 - 1], ARGV[i * 3]
  if redis.call("GET", key) ~= epoch .. " f" .. token then
    replies[i] = "refused"
  elseif lifeMs == "0" then
    redis.call("DEL", key)
    replies[i] = "released"
  else
    redis.call("SET", key, epoch .. " " .. text, "PX", lifeMs)
    replies[i] = "stored"
  end
end
return replies
