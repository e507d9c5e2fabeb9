-- C8: marks have no expiry, so that eviction spares them. What writers that died have left there is deleted here, if no read
-- or begin of its entry has done it already.
--
-- KEYS     marks
-- returns  how many of them are gone

local gone = 0
for _, mark in ipairs(KEYS) do
  if #pendingTokens(mark) == 0 then
    gone = gone + 1
  end
end
return gone
