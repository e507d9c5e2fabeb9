-- A write is over; what it gave is stored if it is certain to be the last.
--
-- KEYS[1]  the entry
-- KEYS[2]  its mark
-- ARGV[1]  the write's token
-- ARGV[2]  the epoch of its begin
-- ARGV[3]  the text to store; empty: none
-- ARGV[4]  its life in ms
-- returns  "stored" | "dropped" | "lapsed": the token was gone before

local state = redis.call("HGET", KEYS[2], ARGV[1])
if not state then
  -- A mark that was lost, or that a clock's jump has lapsed: the old value may have been loaded before the write was done.
  dropEntry(KEYS[1], KEYS[2])
  return "lapsed"
end
redis.call("HDEL", KEYS[2], ARGV[1])
-- C9: in another epoch writes may be pending that this mark does not tell of.
if ARGV[3] == "" or ARGV[2] ~= epoch or string.find(state, "drop", 1, true) then
  return "dropped"
end
redis.call("SET", KEYS[1], epoch .. " " .. ARGV[3], "PX", ARGV[4])
return "stored"
