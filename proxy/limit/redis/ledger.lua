-- Charges buckets of the generic cell rate algorithm. The value of a key is the time at which its bucket will be full, in microseconds of
-- this server's clock. For each key there are six numbers: what was taken, what was charged besides, when the bucket is full by what
-- the host knows, whether to believe that, how long an empty bucket takes to fill, and the most that it can be in debt.
-- The answer for each is how long it takes until the bucket is full.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = {}
for i, key in ipairs(KEYS) do
  local a = (i - 1) * 6
  local take, charge, view = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), now + ARGV[a + 3]
  local burst, most = tonumber(ARGV[a + 5]), now + ARGV[a + 6]
  local at = tonumber(redis.call('GET', key))
  if not at or ARGV[a + 4] == '1' and at < view then
    at = view
  end
  at = math.max(at, now) + take
  if charge > 0 then
    at = math.min(at + charge, math.max(at, now + 2 * burst))
  else
    at = math.max(at + charge, now)
  end
  at = math.min(at, most)
  -- Kept until no host can take the bucket for emptier than it is any more.
  redis.call('SET', key, string.format('%.0f', at), 'PX', string.format('%.0f', math.ceil((at - now + burst) / 1000)))
  full[i] = at - now
end
return full
