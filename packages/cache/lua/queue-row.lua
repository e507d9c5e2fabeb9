-- Before the scripts of write-behind collections. The texts of an entry:
--
--   w<epoch> <version> <text>  a value, in the text of the codec. Without an expiry: accepted, and still to be saved;
--                              nothing but the next accepted write changes it. With one: the source has it.
--   f<epoch> <token>           someone is loading it
--
-- What is still to be saved is the truth, whatever the epoch. What the source has is only believed in the epoch (C9) of its
-- writing: a Redis that has lost its last second may hold what the source no longer has.

local function microseconds()
  local time = redis.call("TIME")
  return time[1] * 1000000 + time[2]
end

local function milliseconds()
  return math.floor(microseconds() / 1000)
end

-- All digits: Lua's own way rounds to 14 of them.
local function digits(number)
  return string.format("%.0f", number)
end

local function isToBeSaved(key, entry)
  return entry and entry:sub(1, 1) == "w" and redis.call("PTTL", key) == -1
end

local function isBelieved(key, entry)
  return entry and entry:sub(1, 1) == "w" and (entry:sub(2, 17) == epoch or redis.call("PTTL", key) == -1)
end

-- The version and the text of an entry that is a value.
local function partsOf(entry)
  local version, start = string.match(entry, "^(%d+) ()", 19)
  return version, entry:sub(start)
end
