-- Drops entries whose source has changed behind the cache's back: begin and end in one.
--
-- KEYS     for each entry: the entry, its mark
-- returns  "dropped"

for i = 1, #KEYS, 2 do
  dropEntry(KEYS[i], KEYS[i + 1])
end
return "dropped"
