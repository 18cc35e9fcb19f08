// Schema of what a policy says about traffic classes: access, countries, TLS, keys, windows, limits.
import { z } from 'zod'
import { CLASSES } from '../policy/classes.ts'
import {
  HINT,
  countries,
  duration,
  method,
  oneOrMany,
  size,
  strict,
  tlsVersion,
  perClass,
} from './scalars.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Limits of a class, as profiles, classes and sites may state them. */
export const classLimits = strict({
  maxBody: size(0, 1024 ** 4, Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('Largest request body; none for no limit. A larger one is refused with 413.'),
  bodyIdle: duration(1_000, DAY_MS)
    .optional()
    .describe('Longest silence of the client while it sends a body.'),
  response: duration(1_000, DAY_MS)
    .optional()
    .describe('Longest wait for the head of the RMM server’s response.'),
  responseIdle: duration(1_000, DAY_MS).optional().describe('Longest silence in a response body.'),
  webSocketIdle: duration(10_000, 7 * DAY_MS)
    .optional()
    .describe(
      'Longest silence of an open WebSocket, both directions together. Agents are silent for minutes: keep it above 330s.',
    ),
  concurrentPerSource: z
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('Requests of one source address open at once. A whole site may stand behind one address.'),
  maxResponse: size(1, 1024 ** 4, 0)
    .optional()
    .describe('Largest response body; none for no limit.'),
  methods: oneOrMany(method)
    .optional()
    .describe('Request methods that the class accepts; all when left out.'),
  whenUnread: z
    .enum(['refuse', 'record'])
    .optional()
    .describe(
      'What becomes of a body or WebSocket message that rules want and cannot read whole: longer than inspectSize or messageSize, in an unknown or broken coding, or while heldMemory is full. refuse: nothing passes unseen. record: judged as far as it was read, passed on, and reported. Left out: refuse for enroll, console, api and other, record for the others.',
    ),
}).describe('Limits of a class.')

/** Limits as read. */
export type WrittenLimits = z.output<typeof classLimits>

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']
const MINUTES_PER_DAY = 1_440
const MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY

/** A weekly window before it has a line. */
export type WrittenWindow = { readonly fromMinute: number; readonly toMinute: number }

/** `Mon-Fri 07:00-19:00` in UTC: one window per day, minutes since Monday 00:00. */
const window = z
  .string()
  .meta({
    description: 'Days and hours in UTC. An end before the start means the next day.',
    examples: ['Mon-Fri 07:00-19:00', 'Sat,Sun 09:00-12:00', 'Fri 22:00-06:00'],
  })
  .transform((text, context): readonly WrittenWindow[] => {
    const windows = readWindow(text)
    if (typeof windows !== 'string') return windows
    context.issues.push({ code: 'custom', message: windows, input: text })
    return z.NEVER
  })

function readWindow(text: string): readonly WrittenWindow[] | string {
  const match = /^([A-Za-z,-]{3,40}) (\d{2}):(\d{2})-(\d{2}):(\d{2})$/.exec(text)
  const example = `${HINT}write days and hours (UTC): Mon-Fri 07:00-19:00`
  if (match === null) return `${JSON.stringify(text.slice(0, 50))} is not a time window${example}`
  const days = new Set<number>()
  for (const part of (match[1] ?? '').split(',')) {
    const [first = '', last = first, ...more] = part.split('-')
    const from = DAYS.indexOf(first)
    const to = DAYS.indexOf(last)
    if (from < 0 || to < 0 || more.length > 0) {
      return `${JSON.stringify(part)} names no days of the week${HINT}days are Mon, Tue, Wed, Thu, Fri, Sat, Sun`
    }
    for (let day = from; ; day = (day + 1) % 7) {
      days.add(day)
      if (day === to) break
    }
  }
  const from = Number(match[2]) * 60 + Number(match[3])
  const to = Number(match[4]) * 60 + Number(match[5])
  const minutesExist = Number(match[3]) < 60 && Number(match[5]) < 60
  if (!minutesExist || from >= MINUTES_PER_DAY || to > MINUTES_PER_DAY) {
    return `${JSON.stringify(text)} has an hour that does not exist${example}`
  }
  if (from === to) return `${JSON.stringify(text)} is empty: it begins and ends at the same minute${example}`
  return [...days]
    .sort((a, b) => a - b)
    .map(day => {
      const end = day * MINUTES_PER_DAY + to + (to < from ? MINUTES_PER_DAY : 0)
      return {
        fromMinute: day * MINUTES_PER_DAY + from,
        toMinute: end > MINUTES_PER_WEEK ? end - MINUTES_PER_WEEK : end,
      }
    })
}

const keyName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, `not a usable name${HINT}letters, digits, - and _ only`)

/** A key that requests of a class must carry. */
const classKey = strict({
  header: keyName.optional().describe('Name of the header that carries the key.'),
  query: keyName.optional().describe('Name of the query parameter that carries the key.'),
  cookie: keyName.optional().describe('Name of the cookie that carries the key.'),
  sha256: z
    .string()
    .regex(
      /^[0-9a-fA-F]{64}$/,
      `not a SHA-256 digest${HINT}64 hexadecimal digits: printf %s 'the key' | sha256sum`,
    )
    .optional()
    .describe('SHA-256 of the key in hexadecimal: the key itself then stands in no file.'),
  value: z
    .string()
    .min(16, `a key of less than 16 characters can be guessed${HINT}for example: openssl rand -hex 16`)
    .max(1024, 'at most 1024 characters')
    .regex(/^[\x21-\x7e]+$/, 'a key has printable ASCII characters only, no spaces')
    .optional()
    .describe('The key itself. It is hashed at once and shown nowhere; sha256 is better.'),
}).describe('A secret that a request must carry: one of header, query or cookie, and one of sha256 or value.')

/** What a policy or site may say of a class. */
const classSettings = strict({
  access: z
    .enum(['open', 'trusted', 'closed'])
    .optional()
    .describe(
      'open: to every source that the countries admit. trusted: only to trusted addresses and trusted sites. closed: to nobody but explicit allows. Left out: as the deployment model says.',
    ),
  countries: countries
    .optional()
    .describe('Countries that may use the class, for example [home, CA]; or any. Left out: home.'),
  tls: tlsVersion
    .optional()
    .describe('Weakest TLS version for the class; left out: whatever the listener accepts.'),
  keys: oneOrMany(classKey)
    .optional()
    .describe('Requests must carry one of these keys, unless the source is trusted.'),
  windows: oneOrMany(window)
    .optional()
    .describe('Hours in which the class is open (UTC); left out: always. Agents work at night: think twice.'),
  limits: classLimits.optional(),
}).describe('What holds for a class of traffic.')

/** Settings as read. */
export type WrittenClass = z.output<typeof classSettings>

/** Settings by class. */
export const classMap = perClass(classSettings).describe(`Settings by class. Classes: ${CLASSES.join(', ')}.`)
