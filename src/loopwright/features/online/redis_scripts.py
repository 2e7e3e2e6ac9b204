"""What a Redis does at one moment for an online store. Each script is handed the project's table of generations as key.

Its first argument is what the names of the project's other keys begin with: ``b:`` and a generation has the bodies by
entity, ``f:`` the marks of what it was filled from, ``v`` the generations there are, ``i`` the store's name and the
numbered signs of those who tried it out last. Marks count while the store has the name that stands among them, after
an ``@``. A view's entry in the table is the generation that answers, a tab, and the one that is filled beside it.

User code may run each script with whatever arguments, over whatever it put into its project's keys, and a Redis does
nothing else meanwhile: so what a script is to read, hash or change is added up before, and told ``TOOMUCH`` beyond a
bound. Whoever has more to do has it done in parts.

A client sends again what is not answered, and each script may have run already: to run it again changes nothing.
"""

MOST_ENTRIES, MOST_BYTES = 5_000, 64 << 20
"""What one script does: views and entities together, and the bytes of their names, keys and bodies."""
MOST_TEXT_BYTES, MOST_MEMBERS = 4 << 20, 1_000_000
"""Of what is asked for in one text, and entries of a set, of which each is there once."""
NAME_LETTERS = 16
"""How long the name of a store is, and a sign; what is longer or shorter is none."""
SIGNS = 64
"""So many are kept: one goes where as many others look before whoever left it looks again, some seconds later."""

_BOUNDS = f"""
local MOST_TEXT_BYTES, MOST_MEMBERS, NAME_LETTERS = {MOST_TEXT_BYTES}, {MOST_MEMBERS}, {NAME_LETTERS}
local SIGNS = {SIGNS}
local entries_left, bytes_left = {MOST_ENTRIES}, {MOST_BYTES}
"""
_GENERATIONS = (
    _BOUNDS
    + """
local at, of_project = KEYS[1], ARGV[1]
local function spend(entries, bytes)
  entries_left, bytes_left = entries_left - entries, bytes_left - bytes
  if entries_left < 0 or bytes_left < 0 then error('TOOMUCH') end
end
if #at + #of_project > 400 then error('TOOMUCH') end
local function unpacked(text)
  if #text > MOST_TEXT_BYTES then error('TOOMUCH') end
  return cmsgpack.unpack(text)
end
local function key_of(kind, generation)
  spend(0, #generation)
  return of_project .. kind .. ':' .. generation
end
local function size_of(key, entity)
  local size = redis.call('HSTRLEN', key, entity)
  spend(1, #key + #entity + size)
  return size
end
local function kept(field)
  if size_of(of_project .. 'i', field) ~= NAME_LETTERS then return '' end
  return redis.call('HGET', of_project .. 'i', field)
end
local function store_name()
  return kept('name')
end
local function has_marks(generation)
  return redis.call('SISMEMBER', key_of('f', generation), '@' .. store_name()) == 1
end
local function mark(generation, text)
  local marks = key_of('f', generation)
  if not has_marks(generation) then
    redis.call('UNLINK', marks)
    redis.call('SADD', marks, '@' .. store_name())
  end
  redis.call('SADD', marks, text)
  redis.call('SADD', of_project .. 'v', generation)
end
local function members(key)
  if redis.call('SCARD', key) > MOST_MEMBERS then error('TOOMUCH') end
  return redis.call('SMEMBERS', key)
end
local function entry(key)
  local view = key:match('^[^~]*')
  if size_of(at, view) > 2000 then error('TOOMUCH') end
  local raw = redis.call('HGET', at, view) or ''
  if raw == '' then return raw, view, '' end
  return raw, raw:match('^(.-)\\t(.*)$')
end
local function taking(key)
  local raw, held, grows = entry(key)
  if key:find('~', 1, true) then
    if key ~= grows then return nil end
    return raw, {key}
  end
  if grows == '' then return raw, {held} end
  return raw, {held, grows}
end
local function drop(generation)
  local entities = redis.call('HLEN', key_of('b', generation))
  redis.call('UNLINK', key_of('b', generation), key_of('f', generation))
  redis.call('SREM', of_project .. 'v', generation)
  return entities
end
"""
)
_READ = """
local function bodies(generation, names)
  local key, found = key_of('b', generation), {}
  if #names > entries_left then error('TOOMUCH') end
  for place, name in ipairs(names) do
    size_of(key, name)
    found[place] = redis.call('HGET', key, name)
  end
  return found
end
"""
SCRIPTS = {
    # Bodies of entities, by view: of the generation that answers.
    "look_up": _GENERATIONS
    + _READ
    + """
local found = {}
for place, asked in ipairs(unpacked(ARGV[2])) do
  local _, held = entry(asked[1])
  found[place] = bodies(held, asked[2])
end
return found
""",
    # Bodies of entities, by view: of each generation that takes rows, with the view's entry.
    "read": _GENERATIONS
    + _READ
    + """
local found = {}
for place, asked in ipairs(unpacked(ARGV[2])) do
  local raw, into = taking(asked[1])
  if not raw then return redis.error_reply('OVERTAKEN ' .. asked[1]) end
  local each = {raw, into}
  for _, generation in ipairs(into) do each[#each + 1] = bodies(generation, asked[2]) end
  found[place] = each
end
return found
""",
    # Puts down new bodies and marks where entries and bodies are as they were read, and the store has the name that is
    # handed in, or none is; says whether they are.
    "write": _GENERATIONS
    + """
spend(#ARGV / 4, 0)  -- a change is four of them
local place = 3
local function next_argument()
  place = place + 1
  return ARGV[place]
end
if ARGV[2] ~= '' and store_name() ~= ARGV[2] then return redis.error_reply('RENAMED') end
for _ = 1, tonumber(ARGV[3]) do  -- a view, its entry
  local view = next_argument()
  if entry(view) ~= next_argument() then return 0 end
end
local changes = tonumber(next_argument())
local first = place
for _ = 1, changes do  -- a generation, an entity, the digest of its body or nothing, its new body
  local generation, entity, digest = next_argument(), next_argument(), next_argument()
  local key = key_of('b', generation)
  next_argument()
  size_of(key, entity)
  local before = redis.call('HGET', key, entity)
  if (before and redis.sha1hex(before) or '') ~= digest then return 0 end
end
place = first
for _ = 1, changes do
  local generation, entity, _, body = next_argument(), next_argument(), next_argument(), next_argument()
  redis.call('HSET', key_of('b', generation), entity, body)
  redis.call('SADD', of_project .. 'v', generation)
end
for _ = 1, tonumber(next_argument()) do  -- a generation, what it was filled from
  local generation = next_argument()
  mark(generation, next_argument())
end
return 1
""",
    "filled": _GENERATIONS
    + """
local _, held = entry(ARGV[2])
if not has_marks(held) then return {} end
return members(key_of('f', held))
""",
    "generations": _GENERATIONS
    + """
return members(of_project .. 'v')
""",
    # The views that hold rows or were filled, each with which of these it is.
    "holding": _GENERATIONS
    + """
local found = {}
for _, view in ipairs(unpacked(ARGV[2])) do
  local _, held = entry(view)
  local marks, level = key_of('f', held), nil
  if redis.call('EXISTS', key_of('b', held)) > 0 then level = 'rows' end
  if has_marks(held) then
    level = redis.call('SISMEMBER', marks, ARGV[3]) == 1 and 'filled' or 'begun'
  end
  if level then
    found[#found + 1] = view
    found[#found + 1] = level
  end
end
return found
""",
    # Remembers that a fill has ended, where the store has the name that is handed in, or none is; says how many
    # entities the view has.
    "finish": _GENERATIONS
    + """
if ARGV[4] ~= '' and store_name() ~= ARGV[4] then return redis.error_reply('RENAMED') end
local _, held = entry(ARGV[2])
mark(held, ARGV[3])
return redis.call('HLEN', key_of('b', held))
""",
    # Leaves a sign, which is handed in after a name for the store; says its name, and the sign with its number. Its
    # name is the one handed in where it has none, or lost the sign that whoever asks left under the name it has.
    "try_out": _GENERATIONS
    + """
local name, sign, seen_name, seen = store_name(), ARGV[3], ARGV[4], ARGV[5] or ''
local number = tonumber(kept('number'):match('^%d+$') or 0)
local seen_number, seen_sign = seen:match('^(%d+) (%x+)$')
if name == seen_name and seen_number then
  local behind = number - tonumber(seen_number)
  if behind < 0 or (behind < SIGNS and kept('sign' .. seen_number % SIGNS) ~= seen_sign) then name = '' end
end
if name == '' then name = ARGV[2] end
number = (number + 1) % 1e15
redis.call('HSET', of_project .. 'i', 'name', name, 'number', ('%016d'):format(number), 'sign' .. number % SIGNS, sign)
return {name, ('%d '):format(number) .. sign}
""",
    "grow": _GENERATIONS
    + """
local _, held, grows = entry(ARGV[2])
if grows ~= '' and grows ~= ARGV[2] then drop(grows) end
redis.call('HSET', at, ARGV[2]:match('^[^~]*'), held .. '\\t' .. ARGV[2])
return 1
""",
    # Lets the next generation answer; says how many entities the one before it had.
    "switch": _GENERATIONS
    + """
local _, held, grows = entry(ARGV[2])
if held == ARGV[2] then return 0 end
if grows ~= ARGV[2] then return redis.error_reply('OVERTAKEN ' .. ARGV[2]) end
redis.call('HSET', at, ARGV[2]:match('^[^~]*'), grows .. '\\t')
return drop(held)
""",
    "forget": _GENERATIONS
    + """
local _, held, grows = entry(ARGV[2])
redis.call('HDEL', at, ARGV[2])
if grows ~= '' then drop(grows) end
return drop(held)
""",
    "held": _GENERATIONS
    + """
local _, held = entry(ARGV[2])
return held
""",
    # Drops bodies that are as they were read; says how long each of those was.
    "drop_bodies": _GENERATIONS
    + """
local key, all, sizes = key_of('b', ARGV[2]), unpacked(ARGV[3]), {}
for _, old in ipairs(all) do size_of(key, old[1]) end
for _, old in ipairs(all) do
  local body = redis.call('HGET', key, old[1])
  if body and redis.sha1hex(body) == old[2] then
    redis.call('HDEL', key, old[1])
    sizes[#sizes + 1] = #body
  end
end
return sizes
""",
}
COMMANDS = ("ping", "evalsha", "hget", "hstrlen", "hset", "sadd")
"""Every command that user code sends, by itself or in the scripts that look up and push.

None brings a script, one of a user might never end; none reads or drops a whole key, or looks for a pattern.
"""
