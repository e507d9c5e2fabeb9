-- A server joins. Its inbox is subscribed to already, so that each revocation from now on reaches it.
--
-- ARGV[1]  its nonce
-- ARGV[2]  the nonce of its joining before, which it knows to be over; empty: none
-- ARGV[3]  how long its leases are, in ms: all members must agree, since writers wait so long for one that is silent
-- ARGV[4]  "1": it keeps copies, else "0"
-- ARGV[5]  its label
-- ARGV[6]  how many members there may be
-- ARGV[7]  its own channel: who may publish nothing there could neither revoke nor answer, and is not to join
-- returns  { "joined", generation, the number of the last revocation, "1" if the generation is settled } | { "lease", what the others have } | { "crowded" }

redis.call("SPUBLISH", ARGV[7], "")
local generation = generationNow()
local isEmpty = redis.call("HLEN", KEYS[1]) == 3 + redis.call("HEXISTS", KEYS[1], "settled")
-- Leases of another length begin where nobody is left.
if not generation or isEmpty and redis.call("HGET", KEYS[1], "lease") ~= ARGV[3] then
  generation = epoch .. ARGV[1]
  redis.call("DEL", KEYS[1])
  redis.call("HSET", KEYS[1], "generation", generation, "sent", "0", "lease", ARGV[3])
elseif redis.call("HGET", KEYS[1], "lease") ~= ARGV[3] then
  return { "lease", redis.call("HGET", KEYS[1], "lease") }
end
if ARGV[2] ~= "" then
  redis.call("HDEL", KEYS[1], rowOf(ARGV[2]))
end
if redis.call("HLEN", KEYS[1]) >= tonumber(ARGV[6]) + 4 then
  return { "crowded" }
end
local sent = redis.call("HGET", KEYS[1], "sent")
redis.call("HSET", KEYS[1], rowOf(ARGV[1]), "0 " .. sent .. " " .. ARGV[4] .. " " .. ARGV[5])
return { "joined", generation, sent, redis.call("HGET", KEYS[1], "settled") or "" }
