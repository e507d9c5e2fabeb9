-- Before commit.lua, destroy.lua and overwrite.lua, where servers keep near copies: the write takes effect only if nothing has come
-- between it and its begin, so that no copy was made of what it replaces since the last one was dropped.
--
-- It answers so also where it has taken effect already, and the client has sent it again after a lost connection: who begins again
-- finds what it has stored.
--
-- KEYS[2]  the record's mark
-- ARGV     last: the write's token, and the epoch of its begin
-- returns  { "superseded" }: it must begin again

local token, begun = ARGV[#ARGV - 1], ARGV[#ARGV]
local till = redis.call("HGET", KEYS[2], token)
redis.call("HDEL", KEYS[2], token)
-- C9: another primary may have lost marks, so that copies were made while the write was pending.
if not till or tonumber(till) <= now() or begun ~= epoch then
  return { "superseded" }
end
