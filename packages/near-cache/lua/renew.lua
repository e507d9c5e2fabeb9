-- A member renews its lease. Writes, so that a primary that has lost its replicas (min-replicas-to-write) renews none.
--
-- C7: the reply tells how many revocations there were: those came before it on the same connection, so that a member that has applied fewer
-- has missed one.
--
-- ARGV[1]  its generation
-- ARGV[2]  its nonce
-- ARGV[3]  the last revocation that it has applied, in an unbroken run
-- ARGV[4]  "1": it has known the generation for so long that the leases of older ones have lapsed
-- ARGV[5]  "1": the group is to be told as well
-- returns  { "renewed", the number of the last revocation, "1" if the generation is settled, the group's hash if asked for }
--          | { "over" }: this joining is

local row = generationNow() == ARGV[1] and redis.call("HGET", KEYS[1], rowOf(ARGV[2]))
if not row then
  return { "over" }
end
local renewals, rest = string.match(row, "^(%d+) %d+ (.*)$")
redis.call("HSET", KEYS[1], rowOf(ARGV[2]), string.format("%d %s %s", renewals + 1, ARGV[3], rest))
if ARGV[4] == "1" then
  redis.call("HSET", KEYS[1], "settled", "1")
end
local reply = { "renewed", redis.call("HGET", KEYS[1], "sent"), redis.call("HGET", KEYS[1], "settled") or "" }
if ARGV[5] == "1" then
  reply[4] = redis.call("HGETALL", KEYS[1])
end
return reply
