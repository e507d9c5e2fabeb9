-- Reads entries; where there is none, one caller gets a token to fill it with (F3), unless it may not be filled now:
-- C4 while a write is pending, C9 in an epoch that is too young to know of all that are pending.
--
-- F5: one whose life is over, but is kept on for a while, is answered as it is, and one caller gets a token to refresh it with. No
-- write is pending then: it would have dropped the entry (C4), and the token with it (C5).
--
-- An entry of an older epoch (C9), or of another revision, reads as missing.
--
-- KEYS     for each entry: the entry, its mark
-- ARGV[1]  a token that is unique with ":<index of the entry>" behind it
-- ARGV[2]  the life of a token in ms
-- ARGV[3]  how old the epoch must be for a token, in ms
-- ARGV[4]  epochs that the caller has known for that long
-- ARGV[5]  the revision, as texts have it
-- ARGV[6]  how long an entry is kept when its life is over, in ms
-- ARGV[7]  "life": what is left of its life is to be told of a hit
-- returns  the epoch, then for each entry its whole text, or { its whole text, what is left of its life in ms }, or { its text without
--          the epoch, 0 or for how long its life has been over in ms, negative, "refresh" | "running" | "failed" }, or
--          "fill" | "unkept" | "busy" | "pending" | "young" | "full": Redis takes no writes (no memory, no disk, too few replicas), and is read
--          from all the same

local revision, extraMs = ARGV[5], tonumber(ARGV[6])
local isLifeAsked = extraMs > 0 or ARGV[7] == "life"

-- Whether a value of the revision begins there.
local function isValueAt(entry, start)
  local kind = entry:sub(start, start)
  return (kind == "v" or kind == "m") and entry:sub(start + 1, start + #revision) == revision
end

local function expired(key, token, entry, leftMs)
  local start, status = 18, nil
  if entry:sub(18, 18) == "r" then
    local till, holder, begin = refreshOf(entry)
    start = begin
    -- It may be there already: clients send again what a lost connection left unanswered.
    status = holder == token and "refresh" or till > now() and (holder == "-" and "failed" or "running")
  end
  local text = entry:sub(start)
  if not status then
    status = setRefresh(key, now() + ARGV[2], token, text).err and "failed" or "refresh"
  end
  return { text, math.min(0, leftMs), status }
end

local function missing(key, mark, token, isLoading)
  if #pendingTokens(mark) > 0 then
    return "pending"
  end
  if isLoading then
    return "busy"
  end
  if not isOlderThan(tonumber(ARGV[3]), ARGV[4]) then
    return "young"
  end
  return redis.pcall("SET", key, epoch .. " f" .. token, "PX", ARGV[2]).err and "full" or "fill"
end

local replies = { epoch }
for i = 1, #KEYS, 2 do
  local token = ARGV[1] .. ":" .. (i + 1) / 2
  local entry = redis.call("GET", KEYS[i])
  local kind = entry and entry:sub(1, 16) == epoch and entry:sub(18, 18)
  local start = kind == "r" and select(3, refreshOf(entry)) or 18
  if kind and isValueAt(entry, start) then
    local leftMs = isLifeAsked and redis.call("PTTL", KEYS[i]) - extraMs
    if kind == "r" or leftMs and leftMs <= 0 then
      replies[#replies + 1] = expired(KEYS[i], token, entry, leftMs or 0)
    else
      -- As it is: cutting the epoch off would copy it once more.
      replies[#replies + 1] = leftMs and { entry, leftMs } or entry
    end
  elseif kind == "u" then
    replies[#replies + 1] = "unkept"
  else
    -- The caller's own token may be there already, sent twice as above.
    local isLoading = kind == "f" and entry ~= epoch .. " f" .. token
    replies[#replies + 1] = missing(KEYS[i], KEYS[i + 1], token, isLoading)
  end
end
return replies
