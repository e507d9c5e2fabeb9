-- Drops entries whose source has changed behind the cache's back: begin and end in one.
--
-- C5: fill tokens go too. What a pending write gives is not stored: the source may have changed after it.
--
-- KEYS     for each entry: the entry, its mark
-- returns  "dropped"

for i = 1, #KEYS, 2 do
  redis.call("DEL", KEYS[i])
  dropAtEnd(KEYS[i + 1], pendingTokens(KEYS[i + 1]))
end
return "dropped"
