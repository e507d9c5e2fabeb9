-- Before the scripts of a flusher. Only who holds a partition's lease saves its rows, one batch after the other, so that no
-- old value is saved after a newer one; each of its scripts checks that, and renews it.
--
-- KEYS[1]  the lease
-- ARGV[1]  the flusher's token
-- ARGV[2]  the life of a lease in ms

local function holdsLease()
  if redis.call("GET", KEYS[1]) ~= ARGV[1] then
    return false
  end
  -- A write that needs no memory: after it a Redis that has none left lets the others pass.
  redis.call("PEXPIRE", KEYS[1], ARGV[2])
  return true
end
