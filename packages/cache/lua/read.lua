-- Reads entries; where there is none, one caller gets a token to fill it with (F3), unless it may not be filled now:
-- C4 while a write is pending, C9 in an epoch that is too young to know of all that are pending.
--
-- An entry is "<epoch> v<JSON>", "<epoch> m" (the source has no such value), or "<epoch> f<token>" (someone is loading it).
-- One of an older epoch reads as missing (C9).
--
-- KEYS     for each entry: the entry, its mark
-- ARGV[1]  a token that is unique with ":<index of the entry>" behind it
-- ARGV[2]  the life of a token in ms
-- ARGV[3]  how old the epoch must be for a token, in ms
-- ARGV[4]  epochs that the caller has known for that long
-- returns  the epoch, then for each entry its whole text, or "fill" | "busy" | "pending" | "young" | "full": Redis takes no
--          writes (no memory, no disk, too few replicas), and is read from all the same

local replies = { epoch }
for i = 1, #KEYS, 2 do
  local entry = redis.call("GET", KEYS[i])
  local isCurrent = entry and entry:sub(1, 16) == epoch
  local reply
  if isCurrent and entry:sub(18, 18) ~= "f" then
    -- As it is: cutting the epoch off would copy it once more.
    reply = entry
  else
    local fill = epoch .. " f" .. ARGV[1] .. ":" .. (i + 1) / 2
    if #pendingTokens(KEYS[i + 1]) > 0 then
      reply = "pending"
    elseif isCurrent and entry ~= fill then
      reply = "busy"
    elseif not isOlderThan(tonumber(ARGV[3]), ARGV[4]) then
      reply = "young"
    else
      -- It may be there already: clients send again what a lost connection left unanswered.
      local set = redis.pcall("SET", KEYS[i], fill, "PX", ARGV[2])
      reply = set.err and "full" or "fill"
    end
  end
  replies[#replies + 1] = reply
end
return replies
