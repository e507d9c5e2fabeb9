-- Before the scripts that ask which rows are due. Where rows have been waiting since a moment that is to come, or wait for
-- longer than any is told to, the clock was set back.

-- Sets times behind `from` to `now`, so many at a time. Returns whether it was all.
local function areMended(key, from, now)
  local rows = redis.call("ZRANGEBYSCORE", key, "(" .. digits(from), "+inf", "LIMIT", 0, 1000)
  for _, row in ipairs(rows) do
    redis.call("ZADD", key, "XX", digits(now), row)
  end
  return #rows < 1000
end

local function areTimesMended(queue, since, now, longestWaitMs)
  local isQueue = areMended(queue, now + longestWaitMs, now)
  return areMended(since, now, now) and isQueue
end
