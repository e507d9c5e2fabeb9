-- Before each script that needs it. The mark of pending writes (C8): a hash of token → deadline in ms on this server's wall
-- clock, followed by " drop" where the value that the write gives must not be stored.

local function now()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The tokens of writes that are still pending. Those that have lapsed are deleted, and with the last of them the mark.
local function pendingTokens(mark)
  local fields = redis.call("HGETALL", mark)
  if #fields == 0 then
    return {}
  end
  local tokens = {}
  local time = now()
  for i = 1, #fields, 2 do
    if tonumber(string.match(fields[i + 1], "%d+")) > time then
      tokens[#tokens + 1] = fields[i]
    else
      -- A Redis that takes no writes is read from all the same.
      redis.pcall("HDEL", mark, fields[i])
    end
  end
  return tokens
end

-- What these writes give must not be stored: another write came between.
local function dropAtEnd(mark, tokens)
  for _, token in ipairs(tokens) do
    local state = redis.call("HGET", mark, token)
    redis.call("HSET", mark, token, string.match(state, "%d+") .. " drop")
  end
end

-- The source has changed, and no pending write tells of it. C5: a fill token goes with the entry. What a pending write gives is
-- not stored: the source may have changed after it.
local function dropEntry(entry, mark)
  redis.call("DEL", entry)
  dropAtEnd(mark, pendingTokens(mark))
end
