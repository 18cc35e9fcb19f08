// The routes of the admin API: validation of what comes in, and the calls behind it.
import type { NewOverlayEntry, OverlayEntry, OverlayKind } from '../journal/store-overlay.ts'
import { siteOfOpening } from '../journal/store-openings.ts'
import type { RuleCounter } from '../ips/rule-set.ts'
import { parseCidr } from '../net/cidr.ts'
import { CLASSES, type TrafficClass } from '../policy/classes.ts'
import { healthOf, type GateFacts } from './health.ts'
import type { ReloadOptions, ReloadResult } from './reload-result.ts'
import type { AdminAnswer, AdminRoute } from './server.ts'
import type { GateStatus } from './status.ts'

/** What the routes do, given by the composition root. */
export type AdminActions = {
  readonly status: () => GateStatus
  /** The status with what health is judged by. */
  readonly facts: () => GateFacts
  readonly reload: (options: ReloadOptions) => Promise<ReloadResult>
  readonly ruleCounters: () => readonly RuleCounter[]
  /** What the guard watches; null: nothing. */
  readonly guard: () => unknown
  readonly addEntry: (entry: NewOverlayEntry) => Promise<OverlayEntry>
  readonly removeEntries: (
    kind: OverlayKind,
    range: string,
    owner: string,
  ) => Promise<readonly OverlayEntry[]>
  readonly entries: () => Promise<readonly OverlayEntry[]>
  /** Resolves when everything reported so far can be read from the store. */
  readonly flush: () => Promise<void>
}

/** Longest reason or owner of an entry. */
export const MAX_ENTRY_TEXT = 300
/** Longest life of an opening. */
export const MAX_OPENING_MS = 7 * 86_400_000
const SITE_ID = /^[a-z0-9][a-z0-9-]{0,62}$/

/** Routes by `METHOD /path`. */
export function adminRoutes(actions: AdminActions): Readonly<Record<string, AdminRoute>> {
  return {
    'GET /v1/status': () => {
      const facts = actions.facts()
      return ok({ health: healthOf(facts), ...facts.status })
    },
    'POST /v1/reload': async ({ body }) => {
      const options = readReload(body)
      return typeof options === 'string' ? bad(options) : ok(await actions.reload(options))
    },
    'GET /v1/rules': () => ok({ rules: actions.ruleCounters() }),
    'GET /v1/guard': () => ok({ watching: actions.guard() }),
    'GET /v1/overlay': async () => ok({ entries: await actions.entries() }),
    'POST /v1/overlay': async ({ body }) => {
      const entry = readEntry(body)
      return typeof entry === 'string' ? bad(entry) : ok({ entries: [await actions.addEntry(entry)] })
    },
    'DELETE /v1/overlay': async ({ body }) => {
      const kind = kindOf(body)
      const range = rangeOf(body)
      const owner = textOf(body, 'owner')
      if (kind === undefined || range === undefined || owner === undefined)
        return bad('kind, range and owner are needed')
      return ok({ entries: await actions.removeEntries(kind, range, owner) })
    },
    'POST /v1/flush': async () => {
      await actions.flush()
      return ok({})
    },
  }
}

const MAX_GUARD_MS = 86_400_000

function readReload(body: unknown): ReloadOptions | string {
  const who = textOf(body, 'who')
  const why = textOf(body, 'why')
  const wanted = field(body, 'guard')
  const options = {
    closeRefused: field(body, 'closeRefused') === true,
    ...(who === undefined ? {} : { who }),
    ...(why === undefined ? {} : { why }),
  }
  if (wanted === undefined || wanted === null) return options
  const windowMs = field(wanted, 'windowMs')
  const windows = field(wanted, 'windows')
  const isSpan = Number.isInteger(windowMs) && Number(windowMs) >= 1_000
  const isCount = Number.isInteger(windows) && Number(windows) >= 1
  if (!isSpan || !isCount || Number(windowMs) * Number(windows) > MAX_GUARD_MS)
    return 'guard is windowMs (at least 1000) and windows (at least 1), together at most a day'
  return { ...options, guard: { windowMs: Number(windowMs), windows: Number(windows) } }
}

function readEntry(body: unknown): NewOverlayEntry | string {
  const kind = kindOf(body)
  if (kind === undefined) return 'kind is ban or allow'
  const range = rangeOf(body)
  if (range === undefined) return 'range is an address or a range'
  const reason = textOf(body, 'reason')
  const owner = textOf(body, 'owner')
  if (reason === undefined || owner === undefined)
    return `reason and owner are texts of 1 to ${MAX_ENTRY_TEXT} characters, without control characters`
  const classes = classesOf(body)
  if (classes === undefined) return `classes is null or a list of ${CLASSES.join(', ')}`
  const createdMs = field(body, 'createdMs')
  const expiresMs = field(body, 'expiresMs')
  if (!isTime(createdMs)) return 'createdMs is a time'
  if (expiresMs !== null && !(isTime(expiresMs) && expiresMs > createdMs))
    return 'expiresMs is null or a later time'
  const entry = { kind, range, classes, reason, owner, createdMs, expiresMs }
  return openingProblem(entry) ?? entry
}

/** Openings are narrow in every respect: one class, one site or a small range, a few days. */
function openingProblem({ kind, range, classes, createdMs, expiresMs }: NewOverlayEntry): string | undefined {
  if (kind !== 'opening') return undefined
  if (classes?.join() !== 'enroll') return 'an opening is for class enroll'
  if (expiresMs === null || expiresMs - createdMs > MAX_OPENING_MS) return 'an opening ends within 7 days'
  const cidr = siteOfOpening(range) === null ? parseCidr(range) : 'site'
  if (typeof cidr !== 'string' && cidr.prefix < (cidr.address.family === 4 ? 16 : 32))
    return 'an opening is for a site, or for a range of at most /16 (IPv6: /32)'
  return undefined
}

function field(body: unknown, name: string): unknown {
  return typeof body === 'object' && body !== null && Object.hasOwn(body, name)
    ? Reflect.get(body, name)
    : undefined
}

function kindOf(body: unknown): OverlayKind | undefined {
  const kind = field(body, 'kind')
  return kind === 'ban' || kind === 'allow' || kind === 'opening' ? kind : undefined
}

function rangeOf(body: unknown): string | undefined {
  const text = field(body, 'range')
  if (typeof text === 'string' && kindOf(body) === 'opening' && siteOfOpening(text) !== null)
    return SITE_ID.test(siteOfOpening(text) ?? '') ? text : undefined
  const range = typeof text === 'string' ? parseCidr(text) : 'not-an-address'
  return typeof range === 'string' ? undefined : range.text
}

function textOf(body: unknown, name: string): string | undefined {
  const text = field(body, name)
  return typeof text === 'string' && isEntryText(text) ? text : undefined
}

/** Whether a text may be the reason or owner of an entry. */
export function isEntryText(text: string): boolean {
  return text.trim() !== '' && text.length <= MAX_ENTRY_TEXT && !UNSAFE.test(text)
}

// What could garble the terminal of whoever lists the entries: controls, ANSI sequences, bidi and invisible characters.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

/** Milliseconds that a date can hold. */
function isTime(value: unknown): value is number {
  return Number.isInteger(value) && Math.abs(Number(value)) <= 8.64e15
}

function classesOf(body: unknown): readonly TrafficClass[] | null | undefined {
  const classes = field(body, 'classes')
  if (classes === null || classes === undefined) return null
  if (!Array.isArray(classes) || classes.length === 0) return undefined
  const known = CLASSES.filter(entry => classes.includes(entry))
  return known.length === classes.length ? known : undefined
}

function ok(body: unknown): AdminAnswer {
  return { status: 200, body }
}

function bad(error: string): AdminAnswer {
  return { status: 400, body: { error } }
}
