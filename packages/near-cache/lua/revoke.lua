-- A write makes all members drop their copies (C2), those that nobody thinks have any included.
--
-- Refused for a joining that is over: of a group that has begun anew since the write began, nobody knows who holds leases (C9).
--
-- ARGV[1]  the writer's generation
-- ARGV[2]  its nonce
-- ARGV[3]  the group's inbox
-- ARGV[4]  what is to be dropped
-- returns  { "sent", its number, "1" if the generation is settled, the group's hash } | { "over" }

if generationNow() ~= ARGV[1] or redis.call("HEXISTS", KEYS[1], rowOf(ARGV[2])) == 0 then
  return { "over" }
end
local number = redis.call("HINCRBY", KEYS[1], "sent", 1)
redis.call("SPUBLISH", ARGV[3], string.format("%s %d %s %s", ARGV[1], number, ARGV[2], ARGV[4]))
return { "sent", number, redis.call("HGET", KEYS[1], "settled") or "", redis.call("HGETALL", KEYS[1]) }
