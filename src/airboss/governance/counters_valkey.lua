-- All of what gateways ask of and tell Valkey, in one script: what it does, nobody else comes between. The same
-- rules as `counting.Book`, and the server's clock, so that gateways' clocks may differ.
--
-- KEYS[1] is the sorted set of workers by when they were last heard of; other keys begin with it, and with its
-- {tag}, so that in a cluster all are in one place. Numbers are whole and below 2^53: Lua's are doubles.
local BASE = KEYS[1]
local SLOTS = 240        -- a minute's, as in windows.py
local SLOT_S = 0.25
local MINUTE_MS = 61000  -- a window says nothing any more
local FORGET_S = 259200  -- nor does a budget's counter after so long, as in counting.py
local FORGET_USER_S = 3600  -- and a user's after so long
local SEQ_S = 86400      -- a worker that is gone for so long does not come back
local BACK_MS = 1000     -- who remembers another server's life comes back within it
local GONE_S = 10        -- a worker that is not heard of for so long is gone
local LEASE_SHARE = 100
local MONEY_LEASE_SHARE = 1000

local operation, worker, line = ARGV[1], ARGV[2], ARGV[3]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local slot_now = math.floor(now / SLOT_S)

local function whole(number)
  return string.format('%.0f', number + 0)  -- less nothing is -0 in Lua, which is no number to Valkey
end

local function floor_div(amount, by)
  return math.floor(amount / by)
end

-- What was taken in the last minute: a hash of slots, with `total`, the oldest slot (`from`) and the `newest`.

local function minute_key(counter)
  return BASE .. ':minute:' .. counter
end

local function slots_between(first, last)
  local names = {}
  for slot = first, last do
    names[#names + 1] = whole(slot)
  end
  return names
end

local function window(key)
  local head = redis.call('HMGET', key, 'total', 'from', 'newest')
  local total, from, newest = tonumber(head[1]), tonumber(head[2]), tonumber(head[3])
  if not total then
    return { total = 0 }
  end
  local oldest = slot_now - SLOTS
  if newest < oldest then
    redis.call('DEL', key)
    return { total = 0 }
  end
  if from < oldest then
    local names = slots_between(from, oldest - 1)
    for _, amount in ipairs(redis.call('HMGET', key, unpack(names))) do
      total = total - (tonumber(amount) or 0)
    end
    redis.call('HDEL', key, unpack(names))
    from = oldest
    redis.call('HSET', key, 'total', whole(total), 'from', whole(from))
  end
  return { total = total, from = from, newest = newest }
end

local function take(key, seen, amount)
  local slot = slot_now
  if seen.newest and slot < seen.newest then
    slot = seen.newest  -- the clock stepped back: what is newer must not be older
  end
  redis.call('HINCRBY', key, whole(slot), whole(amount))
  redis.call('HSET', key, 'total', whole(seen.total + amount), 'from', whole(seen.from or slot),
    'newest', whole(slot))
  redis.call('PEXPIRE', key, MINUTE_MS)
  return slot
end

local function give_back(counter, amount, slot)
  local key = minute_key(counter)
  local seen = window(key)
  local held = tonumber(redis.call('HGET', key, whole(slot)))
  if not held then
    if amount < 0 then
      take(key, seen, -amount)
    end
    return
  end
  local change = math.min(amount, held)
  redis.call('HINCRBY', key, whole(slot), whole(-change))
  redis.call('HSET', key, 'total', whole(seen.total - change))
end

local function wait_ms(key, seen, need, limit)
  local over = seen.total + need - limit
  local names = slots_between(seen.from, seen.newest)
  for index, amount in ipairs(redis.call('HMGET', key, unpack(names))) do
    over = over - (tonumber(amount) or 0)
    if over <= 0 then
      local at = (seen.from + index - 1 + SLOTS + 1) * SLOT_S
      return math.max(0, math.ceil((at - now) * 1000))
    end
  end
  return 60000
end

-- What is held now: a hash of workers, with `total`, and of a budget what is `spent`.

local function held_key(counter)
  return BASE .. ':held:' .. counter
end

local function holding(counter)
  local found = redis.call('HMGET', held_key(counter), 'total', 'spent')
  return tonumber(found[1]) or 0, tonumber(found[2]) or 0
end

local function hold(counter, who, amount)
  if amount == 0 then
    return
  end
  local key, field, of = held_key(counter), '@' .. who, BASE .. ':of:' .. who
  local before = tonumber(redis.call('HGET', key, field)) or 0
  local after = math.max(0, before + amount)
  redis.call('HINCRBY', key, 'total', whole(after - before))
  if after > 0 then
    redis.call('HSET', key, field, whole(after))
    redis.call('SADD', of, counter)
  else
    redis.call('HDEL', key, field)
    redis.call('SREM', of, counter)
  end
end

local function keep(counter)
  local key = held_key(counter)
  local total, spent = holding(counter)
  if total == 0 and spent == 0 then
    redis.call('DEL', key)
  else
    redis.call('EXPIRE', key, string.sub(counter, 1, 5) == 'user/' and FORGET_USER_S or FORGET_S)
  end
end

-- What a worker took before the server forgot it: counters, each with slots and amounts in turn. There may be
-- thousands of slots, so that each counter is read and written at once. Of a budget how much was spent by all.
local function remember(taken)
  for _, each in ipairs(taken) do
    if each[3] > 0 then
      local _, before = holding(each[1])
      redis.call('HSET', held_key(each[1]), 'spent', whole(math.max(before, each[3])))
      keep(each[1])
    end
    local key, slots = minute_key(each[1]), each[2]
    local seen, names, amounts = window(key), {}, {}
    local total, from, newest = seen.total, seen.from, seen.newest
    for index = 1, #slots, 2 do
      local slot, amount = slots[index], slots[index + 1]
      if slot >= slot_now - SLOTS and slot <= slot_now and amount > 0 then
        names[#names + 1], amounts[#amounts + 1] = whole(slot), amount
        from, newest = math.min(from or slot, slot), math.max(newest or slot, slot)
      end
    end
    if #names > 0 then
      local stands, fields = redis.call('HMGET', key, unpack(names)), {}
      for index, name in ipairs(names) do
        local amount = amounts[index]
        total = total + amount
        fields[2 * index - 1], fields[2 * index] = name, whole(amount + (tonumber(stands[index]) or 0))
      end
      redis.call('HSET', key, 'total', whole(total), 'from', whole(from), 'newest', whole(newest), unpack(fields))
      redis.call('PEXPIRE', key, MINUTE_MS)
    end
  end
end

local function forget(who)
  local of = BASE .. ':of:' .. who
  for _, counter in ipairs(redis.call('SMEMBERS', of)) do
    local held = tonumber(redis.call('HGET', held_key(counter), '@' .. who)) or 0
    hold(counter, who, -held)
    keep(counter)
  end
  redis.call('DEL', of)
end

local LINE = BASE .. ':line:'  -- and a worker: which of its connections is heard; none of one that is gone
local BORN = BASE .. ':born'  -- since when it remembers, in milliseconds
local BACK = BASE .. ':back'  -- there while workers come back to a server that has forgotten

local function heard()
  redis.call('ZADD', BASE, now, worker)
  redis.call('EXPIRE', BORN, SEQ_S)
  redis.call('EXPIRE', LINE .. worker, SEQ_S)
  for _, gone in ipairs(redis.call('ZRANGEBYSCORE', BASE, '-inf', now - GONE_S, 'LIMIT', 0, 16)) do
    forget(gone)
    redis.call('ZREM', BASE, gone)
    redis.call('DEL', LINE .. gone)
  end
end

-- What workers ask. A want is {counter, kind, limit, need, lease}.

local function denied(index, want)
  local counter, kind, limit, need = want[1], want[2], want[3], want[4]
  if kind == 'minute' then
    local key = minute_key(counter)
    local seen = window(key)
    local left = limit - seen.total
    if need <= left then
      return nil
    end
    local wait = -1
    if need <= limit then
      wait = wait_ms(key, seen, need, limit)
    end
    return { 0, index, wait, math.max(0, left), 0 }
  end
  local total, spent = holding(counter)
  local left = limit - spent - total
  if kind == 'money' then
    if left > 0 then
      return nil
    end
    return { 0, index, spent < limit and 1000 or -1, 0, spent }
  end
  if need <= left then
    return nil
  end
  return { 0, index, 1000, math.max(0, left), 0 }
end

local function give(want, workers)
  local counter, kind, limit, need, wish = want[1], want[2], want[3], want[4], want[5]
  if kind == 'minute' then
    local key = minute_key(counter)
    local seen = window(key)
    local left = limit - seen.total
    local lease = floor_div(limit, LEASE_SHARE * workers)
    local amount = wish and math.max(need, math.min(lease, left)) or need
    return { amount, take(key, seen, amount), left - amount, lease }
  end
  local total, spent = holding(counter)
  local left = limit - spent - total
  local lease
  if kind == 'money' then
    lease = math.min(floor_div(limit, MONEY_LEASE_SHARE * workers), floor_div(math.max(0, left), 8 * workers))
  else
    lease = floor_div(limit, LEASE_SHARE * workers)
  end
  local amount = wish and math.max(need, math.min(lease, left)) or need
  hold(counter, worker, amount)
  keep(counter)
  return { amount, 0, left - amount, lease, spent }
end

-- Whether what the one lacks is there later than what the other does; -1 is never.
local function later(no, other)
  if no[3] < 0 or other[3] < 0 then
    return other[3] >= 0
  end
  return no[3] > other[3]
end

local function ask(wants)
  if redis.call('EXISTS', BACK) == 1 then
    return { 2 }
  end
  local refused
  for index, want in ipairs(wants) do
    local no = denied(index - 1, want)
    if no and (not refused or later(no, refused)) then
      refused = no
    end
  end
  if refused then
    return refused
  end
  local workers, grants = math.max(1, redis.call('ZCARD', BASE)), { 1 }
  for _, want in ipairs(wants) do
    grants[#grants + 1] = give(want, workers)
  end
  return grants
end

-- What they tell. A change is {counter, back, slot, freed, spent, at_least, at_first}.

local function tell(changes)
  for _, change in ipairs(changes) do
    local counter, back, slot, freed, spent, at_least, at_first = unpack(change)
    if back ~= 0 then
      give_back(counter, back, slot)
    else
      hold(counter, worker, -freed)
      at_first = at_first or 0  -- a gateway of an earlier version has none
      if spent > 0 or at_least > 0 or at_first > 0 then
        local _, before = holding(counter)
        if before == 0 then
          before = at_first
        end
        redis.call('HSET', held_key(counter), 'spent', whole(math.max(before + spent, at_least)))
      end
      keep(counter)
    end
  end
end

local SEQ = BASE .. ':seq:' .. worker
local TOLD = BASE .. ':told:' .. worker  -- how many parts of what it took were told: none counts twice

if operation == 'hello' then
  if tonumber(line) < (tonumber(redis.call('GET', LINE .. worker)) or 0) then
    return redis.error_reply('AIRBOSS this worker has another connection by now')
  end
  forget(worker)
  redis.call('SET', BORN, whole(now * 1000), 'NX')
  redis.call('SET', LINE .. worker, line)
  heard()
  for _, pair in ipairs(cmsgpack.unpack(ARGV[4])) do
    hold(pair[1], worker, pair[2])
    keep(pair[1])
  end
  local known, born = tonumber(ARGV[5]), tonumber(redis.call('GET', BORN))
  if known ~= 0 and known ~= born then
    redis.call('SET', BACK, '1', 'NX', 'PX', BACK_MS)
  end
  return { tonumber(redis.call('GET', SEQ)) or 0, born, tonumber(redis.call('GET', TOLD)) or 0 }
end
-- What came late on a connection that its worker has given up: of what it asks nobody would know.
if redis.call('GET', LINE .. worker) ~= line then
  return redis.error_reply('AIRBOSS this worker has not said hello here, or was silent for too long')
end
if operation == 'gone' then
  forget(worker)
  redis.call('ZREM', BASE, worker)
  redis.call('DEL', LINE .. worker)
  return 0
end
if operation == 'beat' then
  heard()
  return 0
end
if operation == 'took' then
  local born, part = redis.call('GET', BORN), tonumber(ARGV[5])
  if ARGV[4] ~= born then
    return redis.error_reply('AIRBOSS it has forgotten all again')
  end
  if part > (tonumber(redis.call('GET', TOLD)) or 0) then
    remember(cmsgpack.unpack(ARGV[6]))
    redis.call('SET', TOLD, whole(part), 'PX', MINUTE_MS)  -- then all of it is too old to count
    redis.call('SET', BACK, '1', 'PX', BACK_MS)
  end
  return part
end
if operation == 'ask' then
  return ask(cmsgpack.unpack(ARGV[4]))
end
local seq = tonumber(ARGV[4])
if seq > (tonumber(redis.call('GET', SEQ)) or 0) then
  tell(cmsgpack.unpack(ARGV[5]))
  redis.call('SET', SEQ, whole(seq), 'EX', SEQ_S)
end
return seq
