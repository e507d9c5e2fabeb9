-- Reads entries; where there is none, one caller gets a token to fill it with (F3). No entry means that the source has all
-- that was accepted.
--
-- KEYS     the entries
-- ARGV[1]  a token that is unique with ":<index of the entry>" behind it
-- ARGV[2]  the life of a token in ms
-- returns  the epoch, then for each entry its whole text, "fill", "busy", or "full": Redis takes no writes, and is read from
--          all the same

local replies = { epoch }
for i, key in ipairs(KEYS) do
  local entry = redis.call("GET", key)
  local fill = "f" .. epoch .. " " .. ARGV[1] .. ":" .. i
  if isBelieved(key, entry) then
    replies[i + 1] = entry
  elseif entry and entry ~= fill and entry:sub(1, 17) == "f" .. epoch then
    replies[i + 1] = "busy"
  else
    replies[i + 1] = redis.pcall("SET", key, fill, "PX", ARGV[2]).err and "full" or "fill"
  end
end
return replies
