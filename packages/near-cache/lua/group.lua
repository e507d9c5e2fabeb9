#!lua flags=allow-oom
-- Before each script. The group: one hash, which is small and bounded, so that it is written also where memory has run out (sessions must
-- end there too).
--
--   generation       the epoch of the primary (C9), and the nonce of the first member: another one once Redis has started, failed over,
--                    or lost the hash, for then nobody knows who else may hold a lease
--   sent             how many revocations there were: each has its number
--   lease            how long a renewal gives the right to serve copies, in ms
--   settled          "1": somebody has known the generation for so long that the leases of older ones have lapsed
--   member:<nonce>   "<renewals> <the last revocation that was applied> <1: keeps copies, else 0> <label>"
--
-- KEYS[1]  the group

local info = redis.call("INFO", "replication")
local _, last = string.find(info, "master_replid:", 1, true)
local epoch = info:sub(last + 1, last + 16)

local function rowOf(nonce)
  return "member:" .. nonce
end

local function generationNow()
  local generation = redis.call("HGET", KEYS[1], "generation")
  return generation and generation:sub(1, 16) == epoch and generation or nil
end
