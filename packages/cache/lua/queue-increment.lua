-- Accepts a number that is the old one and some more.
--
-- KEYS, ARGV[1] to ARGV[5], returns: see queue-accept.lua; the text is the new number, and "why not" may be
--          "absent"   the old one must be loaded first
--          "invalid"  one of the two is no safe integer
-- ARGV[6]  how much more
-- ARGV[7]  what the text of a number begins with

local largest = 9007199254740991

local refused = early()
if refused then
  return refused
end
local entry = redis.call("GET", KEYS[1])
if not isBelieved(KEYS[1], entry) then
  -- A write that changes nothing: a Redis that takes none refuses it here, before anybody loads.
  redis.call("SET", KEYS[3], redis.call("GET", KEYS[3]) or "0")
  return answer("absent")
end
local _, text = partsOf(entry)
local old = text:sub(1, 1) == "m" and "0" or string.match(text, "^v%d+:(%-?%d+)$")
local new = old and tonumber(old) + tonumber(ARGV[6])
if not new or math.abs(new) > largest or math.abs(tonumber(old)) > largest then
  return answer("invalid")
end
return accept(ARGV[7] .. digits(new), digits(new))
