-- Stores what was loaded, or gives the token back.
--
-- C5: only with the token that the load was given, once, and in its epoch. A write that was accepted since has taken its
-- place.
--
-- KEYS     the entries
-- ARGV     for each entry: the token, its life in ms or 0: nothing is stored, the text
-- returns  for each entry "stored" | "released" | "refused"

local replies = {}
for i, key in ipairs(KEYS) do
  local token, ms, text = ARGV[i * 3 - 2], ARGV[i * 3 - 1], ARGV[i * 3]
  if redis.call("GET", key) ~= "f" .. epoch .. " " .. token then
    replies[i] = "refused"
  elseif ms == "0" then
    redis.call("DEL", key)
    replies[i] = "released"
  else
    -- Version 0: no accepted write has it.
    redis.call("SET", key, "w" .. epoch .. " 0 " .. text, "PX", ms)
    replies[i] = "stored"
  end
end
return replies
