-- Charges buckets of the generic cell rate algorithm. The value of a key is the time at which its bucket will be full, in microseconds of
-- this server's clock, and the latest time that this has ever been, if that is later: tokens were given back since. For each key there are six
-- numbers: what was taken, what was charged besides, when the bucket is full by what the host knows, whether to believe that, how long an
-- empty bucket takes to fill, and the most that it can be in debt.
-- The answer for each is how long it takes until the bucket is full.
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = {}
for i, key in ipairs(KEYS) do
  local a = (i - 1) * 6
  local take, charge, view = tonumber(ARGV[a + 1]), tonumber(ARGV[a + 2]), now + ARGV[a + 3]
  local burst, most = tonumber(ARGV[a + 5]), now + ARGV[a + 6]
  local at, latest = string.match(redis.call('GET', key) or '', '^(%d+) ?(%d*)$')
  at, latest = tonumber(at or ''), tonumber(latest or '') or 0
  if not at or ARGV[a + 4] == '1' and at < view then
    at = view
  end
  at = math.max(at, now) + take
  latest = math.max(latest, math.min(at, most))
  if charge > 0 then
    at = math.min(at + charge, math.max(at, now + 2 * burst))
  else
    at = math.max(at + charge, now)
  end
  at = math.min(at, most)
  local value = string.format('%.0f', at)
  if latest > at then
    value = value .. string.format(' %.0f', latest)
  end
  -- Kept until no host can take the bucket for emptier than it is any more: an answer is on its way for two seconds at the most.
  redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil((math.max(at, latest) - now) / 1000) + 2000))
  full[i] = at - now
end
return full
