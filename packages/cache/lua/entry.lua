-- Before the scripts that read entries. The texts of an entry, each behind "<epoch> ":
--
--   v<revision>:<JSON>                       a value
--   m<revision>:                             the source has no such value
--   f<token>                                 someone is loading it
--   u                                        it was loaded, and is not to be kept
--   r<until> <token> <one of the first two>  its life is over: someone refreshes it, or, if the token is "-", that has just
--                                            failed and nobody does, until then in ms on this server's wall clock

-- Of an entry of the last kind: until when, whose token, and where in it the old text begins.
local function refreshOf(entry)
  local till, token, start = string.match(entry, "^r(%d+) (%S+) ()", 18)
  return tonumber(till), token, start
end

local function setRefresh(key, till, token, text)
  return redis.pcall("SET", key, epoch .. " r" .. string.format("%.0f", till) .. " " .. token .. " " .. text, "KEEPTTL")
end
