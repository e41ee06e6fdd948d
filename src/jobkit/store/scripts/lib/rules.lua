-- The rules in force of a queue, as the scripts read them: JSON {rev, rate {{n, per ms}..}, run n, keyed {kind/field =
-- {n, per ms}}, weights {fair key = weight}}. A piece of a lane whose rule is not in force any more limits nothing. What
-- cannot be read limits nothing either, so that no text stops a queue; mutexes hold without rules.
local NO_RULES, ONE = {keyed = {}}, {1}

local function is_count(value)
  return type(value) == 'number' and value >= 1 and value <= 1e12 and value == math.floor(value)
end
local function is_rule(value)
  return type(value) == 'table' and is_count(value[1]) and (value[2] == nil or is_count(value[2]))
end

local function read_rules(text)
  local ok, told = pcall(cjson.decode, text)
  if not ok or type(told) ~= 'table' then return {keyed = {}, rev = 0} end
  local rules = {rev = tonumber(told.rev) or 0, keyed = {}, weights = {}}
  for name, rule in pairs(type(told.keyed) == 'table' and told.keyed or {}) do
    if is_rule(rule) then rules.keyed[name] = rule end
  end
  for fair, weight in pairs(type(told.weights) == 'table' and told.weights or {}) do
    if type(weight) == 'number' and weight > 0 then rules.weights[fair] = weight end
  end
  if is_count(told.run) then rules.run = told.run end
  for i, rate in ipairs(type(told.rate) == 'table' and told.rate or {}) do
    rules.rate = rules.rate or {}
    -- A window keeps its number, which is its name.
    rules.rate[i] = is_rule(rate) and rate[2] and rate or false
  end
  return rules
end

-- nil where the queue has none, and none begins later because a service said so (`held`: the ms until then).
local function rules_of(queue)
  local found = call('MGET', P .. ':jk:rules:' .. queue, until_key(queue))
  local rules, held = found[1] and read_rules(found[1]) or nil, tonumber(found[2] or 0)
  if held > NOW then
    rules = rules or {keyed = {}}
    rules.held = held
  end
  return rules
end

local function rule_of(piece, rules)
  if string.sub(piece, 1, 6) == 'mutex=' then return ONE end
  return rules.keyed[string.match(piece, '^(.-)=')]
end

-- ms at which a window admits another claim, nil where it does so now.
local function window_opens(limit, n, per)
  local oldest = call('LINDEX', window_key(limit), n - 1)
  local opens = oldest and tonumber(oldest) + per
  return opens and opens > NOW and opens or nil
end

-- How many more attempts may hold a place of a limit.
local function room(limit, rule)
  if not rule then return math.huge end
  return rule[1] - call('ZCARD', run_key(limit))
end

-- Whether the limits of the whole queue admit no job now: nil where they do, else ms until they do, or -1 where that is
-- when a job ends.
local function closed(queue, rules)
  if rules.held then return rules.held - NOW end
  if rules.run and call('ZCARD', P .. ':jk:lease:' .. queue) >= rules.run then return -1 end
  local wait
  for i, rate in ipairs(rules.rate or {}) do
    local opens = rate and window_opens(queue .. '/rate/' .. i, rate[1], rate[2])
    if opens then wait = math.max(wait or 1, opens - NOW) end
  end
  return wait
end

-- Lets nothing begin for so many ms under the rate limits by key of a job (`field` is its jk_lane) that are in force, or,
-- where there are none, in its queue. A longer hold stays.
local function shut_for(base, field, ms)
  local queue, limits = queue_name(base), {}
  local rules = rules_of(queue) or NO_RULES
  local _, pieces = pieces_of(field and string.match(field, US .. '(.*)$') or '')
  for i = 2, #pieces do
    local rule = rule_of(pieces[i], rules)
    if rule and rule[2] then limits[#limits + 1] = limit_of(queue, pieces[i]) end
  end
  if #limits == 0 then limits[1] = queue end
  for _, limit in ipairs(limits) do
    if ms > 0 and tonumber(call('GET', until_key(limit)) or 0) < NOW + ms then
      call('SET', until_key(limit), string.format('%.0f', NOW + ms), 'PX', ms)
    end
  end
end
