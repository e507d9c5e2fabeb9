-- Before each script that needs it. The mark of a record's pending writes: a hash of token → deadline in ms on this server's wall
-- clock. It is there only where servers keep near copies.

local function now()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- How many writes are pending. Tokens that have lapsed are deleted, and with the last of them the mark.
local function countPending(mark)
  local fields = redis.call("HGETALL", mark)
  if #fields == 0 then
    return 0
  end
  local count = 0
  local time = now()
  for i = 1, #fields, 2 do
    if tonumber(fields[i + 1]) > time then
      count = count + 1
    else
      -- A Redis that takes no writes is read from all the same.
      redis.pcall("HDEL", mark, fields[i])
    end
  end
  return count
end
