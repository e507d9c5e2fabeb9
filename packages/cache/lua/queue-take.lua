-- Hands rows to the flusher that is to save them; they stay where they are. One that has failed alone comes alone, so that
-- it does not hold up others again.
--
-- KEYS[1], ARGV[1], ARGV[2]: see queue-lease.lua
-- KEYS[2]  the queue
-- KEYS[3]  rows by the time since which they have been waiting
-- KEYS[4]  rows that have failed alone
-- KEYS[5…] their entries
-- ARGV[3]  after so many bytes no more
-- ARGV[4…] their names in the queue
-- returns  { the time in ms, "<version> <text>" of each, or of the first of them, or "" where that is lost }
--          | "lost": it does not hold the lease

if not holdsLease() then
  return "lost"
end
local rows = { digits(milliseconds()) }
local bytes = 0
local hasRows = false
for i = 5, #KEYS do
  local row = ARGV[i - 1]
  local entry = redis.call("GET", KEYS[i])
  if isToBeSaved(KEYS[i], entry) then
    local isAlone = redis.call("HEXISTS", KEYS[4], row) == 1
    bytes = bytes + #entry
    if hasRows and (isAlone or bytes > tonumber(ARGV[3])) then
      return rows
    end
    rows[#rows + 1] = entry:sub(19)
    hasRows = true
    if isAlone then
      return rows
    end
  else
    -- Somebody has deleted it by hand, or has told Redis to evict.
    redis.call("ZREM", KEYS[2], row)
    redis.call("ZREM", KEYS[3], row)
    redis.call("HDEL", KEYS[4], row)
    rows[#rows + 1] = ""
  end
end
return rows
