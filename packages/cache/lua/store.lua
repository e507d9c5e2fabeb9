-- Stores what was loaded, or gives the token back.
--
-- C5: only with the token that the load was given, once, and in its epoch (C9); a write that has begun since has voided it,
-- so that a slow load can't put an old value over a newer one.
--
-- KEYS  the entries
-- ARGV  for each entry: the token, what to do, a time in ms, a text:
--       "store"   the text is stored for the time
--       "unkept"  nothing is, and an old value goes; for the time each reader loads for itself
--       "unused"  an old value stays, to be refreshed by the next reader
--       "failed"  it stays, and nobody refreshes it for the time
-- returns  for each entry "stored" | "released" | "refused"

local replies = {}
for i, key in ipairs(KEYS) do
  local token, action, ms, text = ARGV[i * 4 - 3], ARGV[i * 4 - 2], ARGV[i * 4 - 1], ARGV[i * 4]
  local entry = redis.call("GET", key) or ""
  local isFill = entry == epoch .. " f" .. token
  local isRefresh, old = false, nil
  if entry:sub(1, 18) == epoch .. " r" then
    local _, holder, start = refreshOf(entry)
    isRefresh, old = holder == token, entry:sub(start)
  end
  if not (isFill or isRefresh) then
    replies[i] = "refused"
  elseif action == "store" then
    redis.call("SET", key, epoch .. " " .. text, "PX", ms)
    replies[i] = "stored"
  else
    if action == "unkept" then
      redis.call("SET", key, epoch .. " u", "PX", ms)
    elseif isFill then
      redis.call("DEL", key)
    elseif action == "unused" then
      redis.call("SET", key, epoch .. " " .. old, "KEEPTTL")
    else
      setRefresh(key, now() + ms, "-", old)
    end
    replies[i] = "released"
  end
end
return replies
