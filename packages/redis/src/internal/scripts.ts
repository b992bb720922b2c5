/**
 * What is done in Redis in one step.
 *
 * **Details**: their text goes with each call, so that it doesn't matter which node runs one, and what it has forgotten
 * in a restart. A script writes one key at most, and so runs in a cluster too.
 *
 * @since 0.2.0
 */
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"

/** Member of a stored JSON that tells which process wrote it. */
const member = "portolan-incarnation"

/** The text of a JSON object with the incarnation of who writes it. */
export const withIncarnation = (text: string, incarnation: string): string =>
  JSON.stringify({ ...JSON.parse(text), [member]: incarnation })

/** The text without it. What others wrote stays as it is. */
export const withoutIncarnation = (text: string): string => {
  if (!text.includes(member)) return text
  const record = Result.getOrElse(Result.try((): unknown => JSON.parse(text)), () => undefined)
  if (!Predicate.isObject(record)) return text
  const { [member]: _, ...rest } = record
  return JSON.stringify(rest)
}

const owns = `
local function owns(text, incarnation)
  local isJson, record = pcall(cjson.decode, text)
  return isJson and type(record) == 'table' and record['${member}'] == incarnation
end`

/** KEYS: key. ARGV: text, TTL in ms, channel, message. What was there before is replaced, whoever wrote it. */
export const put = `
local before = redis.pcall('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if before ~= ARGV[1] then redis.call('PUBLISH', ARGV[3], ARGV[4]) end`

/**
 * As `put`, and ARGV also the incarnation; writes only over a record of it. Answers `kept`, `gone` or `taken`. A record
 * that is as it should be is only given its time, of which nothing is published.
 */
export const renew = `${owns}
local text = redis.pcall('GET', KEYS[1])
if text == false then return 'gone' end
if text == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return 'kept'
end
if type(text) ~= 'string' or not owns(text, ARGV[5]) then return 'taken' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 'kept'`

/** KEYS: key. ARGV: incarnation, channel, message. Removes only a record of that incarnation. */
export const remove = `${owns}
local text = redis.pcall('GET', KEYS[1])
if type(text) ~= 'string' or not owns(text, ARGV[1]) then return end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])`

// Of each key: its name, its text (none where it holds none), and the ms that are left (-1: no end, -2: it isn't there).
const reading = `
local function read(keys)
  local readings = {}
  for _, key in ipairs(keys) do
    local text = redis.pcall('GET', key)
    local failure = type(text) == 'table' and text.err or ''
    if string.find(failure, 'WRONGTYPE', 1, true) then
      text = false
    elseif failure ~= '' and not string.find(failure, 'non local key', 1, true) then
      return text
    end
    -- A key that moves to another node belongs to that one.
    if type(text) ~= 'table' then
      readings[#readings + 1] = { key, text, redis.call('PTTL', key) }
    end
  end
  return readings
end`

/** KEYS: keys. Answers their readings. */
export const read = `${reading}
return read(KEYS)`

/** ARGV: cursor, pattern, count. Answers the next cursor (`0`: the end) and readings of the keys of this page. */
export const page = `${reading}
local found = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local readings = read(found[2])
if readings.err then return readings end
return { found[1], readings }`
