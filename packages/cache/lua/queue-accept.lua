-- Before the scripts that accept a write. Whatever refuses one comes before the first write command, and that is a SET,
-- which a Redis without memory refuses: what follows a script's first write is refused no more. So a write is stored with
-- its place in the queue, or not at all.
--
-- A client sends a script again whose answer was lost with the connection. Such a one is known by its token, which is
-- kept for as long as the script may run.
--
-- KEYS[1]  the entry
-- KEYS[2]  where this write's token is kept
-- KEYS[3]  the last version that was given in the partition
-- KEYS[4]  the queue: rows by the time they are due
-- KEYS[5]  rows by the time since which they have been waiting
-- KEYS[6]  rows that have failed alone
-- KEYS[7]  dead letters
-- ARGV[1]  the epochs of servers that have been found safe
-- ARGV[2]  until when it may run, in µs on this server's clock
-- ARGV[3]  how long a row waits for others, in ms
-- ARGV[4]  how many rows may wait, dead letters included
-- ARGV[5]  the row's name in the queue
-- returns  { the epoch, the time in µs, "accepted", its version, "queued" | "coalesced", the text }
--          | { the epoch, the time in µs, why not }:
--          "unknown"  nobody has looked whether this server is safe
--          "late"     it was to run earlier, if at all
--          "full"     too many rows are waiting

local time = microseconds()

local function answer(...)
  return { epoch, digits(time), ... }
end

-- What was answered before, or is to be answered instead.
local function early()
  local kept = redis.call("GET", KEYS[2])
  if kept then
    -- WAIT, which may follow, speaks of what this connection has written.
    redis.call("SET", KEYS[2], kept, "KEEPTTL")
    local version, place, text = string.match(kept, "^(%d+) (%a+) (.*)$")
    return answer("accepted", version, place, text)
  end
  if not string.find(ARGV[1], epoch, 1, true) then
    return answer("unknown")
  end
  if time > tonumber(ARGV[2]) then
    return answer("late")
  end
  local isFull = redis.call("ZCARD", KEYS[4]) + redis.call("HLEN", KEYS[7]) >= tonumber(ARGV[4])
  if isFull and not redis.call("ZSCORE", KEYS[4], ARGV[5]) and redis.call("HEXISTS", KEYS[7], ARGV[5]) == 0 then
    return answer("full")
  end
  return nil
end

-- Versions grow in the whole partition, so that they do for an id whose entry has come and gone, wherever the clock jumps.
local function accept(text, shown)
  local version = digits(math.max(time, tonumber(redis.call("GET", KEYS[3]) or "0") + 1))
  redis.call("SET", KEYS[1], "w" .. epoch .. " " .. version .. " " .. text)
  redis.call("SET", KEYS[3], version)
  local now = math.floor(time / 1000)
  local isNew = redis.call("ZADD", KEYS[4], "NX", now + ARGV[3], ARGV[5]) == 1
  if isNew then
    redis.call("ZADD", KEYS[5], now, ARGV[5])
    if redis.call("HDEL", KEYS[7], ARGV[5]) == 1 then
      redis.call("HDEL", KEYS[6], ARGV[5])
    end
  end
  local place = isNew and "queued" or "coalesced"
  redis.call("SET", KEYS[2], version .. " " .. place .. " " .. shown, "PXAT", digits(math.floor(ARGV[2] / 1000) + 1))
  return answer("accepted", version, place, shown)
end
