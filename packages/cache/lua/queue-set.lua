-- Accepts a value. A fill token that is there goes: what is being loaded is older (C5).
--
-- KEYS, ARGV[1] to ARGV[5], returns: see queue-accept.lua
-- ARGV[6]  the text

return early() or accept(ARGV[6], "")
