-- Gives dead letters up, and their values with them: the source's is read again.
--
-- KEYS[1]  dead letters
-- KEYS[2…] the entries of rows
-- ARGV     their names, in that order
-- returns  how many were dead letters

local discarded = 0
for i, row in ipairs(ARGV) do
  -- One that has been written again is none any more.
  if redis.call("HDEL", KEYS[1], row) == 1 then
    redis.call("DEL", KEYS[i + 1])
    discarded = discarded + 1
  end
end
return discarded
