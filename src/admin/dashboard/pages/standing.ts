// Bans and allows: what operators have set while the gate runs, what the policy file says, and the forms that change the first.
import type { NewOverlayEntry, OverlayEntry, OverlayKind } from '../../../journal/store-overlay.ts'
import { parseCidr } from '../../../net/cidr.ts'
import { CLASSES, type TrafficClass } from '../../../policy/classes.ts'
import { isEntryText, MAX_ENTRY_TEXT } from '../../routes.ts'
import { ago, choiceField, emptyState, panel, state, table, textField } from '../components.ts'
import { html, type Html } from '../html.ts'
import { hasRole } from '../layout.ts'
import { link, type Page, type PageRequest, type PageRoute } from '../page.ts'

/** An entry of the policy file. */
export type PolicyEntry = Pick<OverlayEntry, 'kind' | 'range' | 'reason' | 'owner' | 'expiresMs'> & {
  readonly classes: readonly string[] | null
  /** `file:line:column`. */
  readonly line: string
}

/** What the page shows and calls; the command line calls the same. */
export type StandingSources = {
  readonly entries: () => Promise<readonly OverlayEntry[]>
  readonly addEntry: (entry: NewOverlayEntry) => Promise<OverlayEntry>
  readonly removeEntries: (
    kind: OverlayKind,
    range: string,
    owner: string,
  ) => Promise<readonly OverlayEntry[]>
  readonly policyEntries: () => readonly PolicyEntry[]
  /** Ids of the sites that a range touches. @param range canonical */
  readonly sitesWithin: (range: string) => readonly string[]
}

const HOUR_MS = 3_600_000
const SPANS: readonly (readonly [value: string, text: string, hours: number | null])[] = [
  ['1h', '1 hour', 1],
  ['4h', '4 hours', 4],
  ['1d', '1 day', 24],
  ['7d', '7 days', 168],
  ['30d', '30 days', 720],
  ['always', 'until somebody removes it', null],
]

/** The routes. */
export function standingRoutes(sources: StandingSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/standing',
      role: 'viewer',
      reach: 'gate',
      navigation: { group: 'Protection', label: 'Bans and allows' },
      run: request => standingPage(sources, request, blankForm(request.query), null),
    },
    {
      method: 'POST',
      path: '/standing/add',
      role: 'support',
      reach: 'gate',
      action: 'set a ban or allow',
      run: async request => {
        const read = readEntry(request)
        if (typeof read === 'string') {
          return { ...(await standingPage(sources, request, request.form, { text: read })), status: 400 }
        }
        const { entry } = read
        const sites = entry.kind === 'ban' && entry.classes === null ? sources.sitesWithin(entry.range) : []
        if (sites.length > 0 && request.form.get('sure') !== 'yes') {
          const names = `${sites.slice(0, 5).join(', ')}${sites.length > 5 ? ', …' : ''}`
          const text = `${entry.range} is an address of ${sites.length === 1 ? 'site' : `${sites.length} sites:`} ${names}; every agent there would be refused. Ban only a class, or confirm below.`
          return {
            ...(await standingPage(sources, request, request.form, { text, confirm: true })),
            status: 409,
          }
        }
        await sources.addEntry(entry)
        const what = entry.kind === 'ban' ? 'banned' : 'allowed'
        return {
          kind: 'redirect',
          to: '/standing',
          notice: `${short(entry.range)} is ${what} for ${scopeText(entry.classes)}.`,
          target: `${entry.kind} ${entry.range}`,
        }
      },
    },
    {
      method: 'POST',
      path: '/standing/remove',
      role: 'support',
      reach: 'gate',
      action: 'take back a ban or allow',
      run: async request => {
        const kind = kindOf(request.form.get('kind'))
        const range = parseCidr(request.form.get('range') ?? '')
        if (kind === null || typeof range === 'string') {
          const page = await standingPage(sources, request, new URLSearchParams(), {
            text: 'There is no such entry.',
          })
          return { ...page, status: 400 }
        }
        const removed = await sources.removeEntries(kind, range.text, request.view.operator.name)
        const word = kind === 'ban' ? 'banned' : 'allowed'
        return {
          kind: 'redirect',
          to: '/standing',
          notice:
            removed.length === 0
              ? `${short(range.text)} was not ${word} any more.`
              : `${short(range.text)} is no longer ${word}.`,
          target: `${kind} ${range.text}`,
        }
      },
    },
  ]
}

type Problem = { readonly text: string; readonly confirm?: boolean }

/** What the address asks for: `/standing?kind=ban&range=...` from other pages. */
function blankForm(query: URLSearchParams): URLSearchParams {
  return new URLSearchParams({
    kind: kindOf(query.get('kind')) ?? 'ban',
    range: (query.get('range') ?? '').slice(0, 60),
    span: '1d',
  })
}

function readEntry({ form, view, nowMs }: PageRequest): { readonly entry: NewOverlayEntry } | string {
  const kind = kindOf(form.get('kind'))
  if (kind === null) return 'Choose ban or allow.'
  const text = form.get('range')?.trim() ?? ''
  const range = parseCidr(text)
  if (range === 'host-bits')
    return `${text} is an address inside a range: write the first address of the range.`
  if (typeof range === 'string') return 'Write an address or a range: 203.0.113.7 or 203.0.113.0/24.'
  const reason = form.get('reason')?.trim() ?? ''
  if (!isEntryText(reason))
    return `A reason of at most ${MAX_ENTRY_TEXT} characters is needed: whoever meets this later must know why.`
  const classes = classesOf(form.get('class') ?? '')
  if (classes === undefined) return 'There is no such class.'
  const span = SPANS.find(([value]) => value === form.get('span'))
  if (span === undefined) return 'Choose how long it holds.'
  const [, , hours] = span
  if (hours === null && !hasRole(view.operator, 'admin')) return 'Only an admin may set what has no end.'
  const expiresMs = hours === null ? null : nowMs + hours * HOUR_MS
  return {
    entry: {
      kind,
      range: range.text,
      classes,
      reason,
      owner: view.operator.name,
      createdMs: nowMs,
      expiresMs,
    },
  }
}

async function standingPage(
  sources: StandingSources,
  request: PageRequest,
  form: URLSearchParams,
  problem: Problem | null,
): Promise<Page> {
  const { view, nowMs, csrf } = request
  const mayChange = hasRole(view.operator, 'support')
  const entries = await sources.entries()
  const written = sources.policyEntries()
  const columns = [
    { head: 'What', short: true },
    { head: 'Range', short: true },
    { head: 'For', short: true },
    { head: 'Reason', long: true },
    { head: 'By' },
    { head: 'Ends', short: true },
  ] as const
  return {
    kind: 'page',
    title: 'Bans and allows',
    body: html`${problem === null ? null : html`<p class="problem" role="alert">${problem.text}</p>`}
    ${panel(
      'Set while the gate runs',
      entries.length === 0
        ? emptyState(
            'Nobody is banned or allowed by an operator.',
            mayChange ? 'The form below sets one.' : undefined,
          )
        : table(
            'Bans and allows of operators',
            mayChange ? [...columns, { head: 'Change', short: true }] : columns,
            entries
              .slice(0, 1_000)
              .map(entry => [...cells(entry, nowMs), ...(mayChange ? [removal(entry, csrf)] : [])]),
          ),
    )}
    ${mayChange ? panel('Set one', entryForm(form, problem, csrf, hasRole(view.operator, 'admin'))) : null}
    ${panel(
      'From the policy file',
      written.length === 0
        ? emptyState('The policy bans and allows nobody by address.')
        : table(
            'Bans and allows of the policy',
            [...columns, { head: 'Line' }],
            written.map(entry => [...cells(entry, nowMs), html`<span class="code">${entry.line}</span>`]),
          ),
    )}`,
  }
}

function cells(
  { kind, range, classes, reason, owner, expiresMs }: Omit<PolicyEntry, 'line'>,
  nowMs: number,
): readonly (Html | string)[] {
  return [
    kind === 'ban' ? state('bad', 'ban') : state('good', 'allow'),
    html`<a class="code" href="${link`/events?address=${range}`}">${short(range)}</a>`,
    scopeText(classes),
    reason,
    owner,
    expiresMs === null ? 'when removed' : ago(expiresMs, nowMs),
  ]
}

function removal({ kind, range }: OverlayEntry, csrf: Html): Html {
  const label = `End the ${kind} of ${short(range)}`
  return html`<form method="post" action="/standing/remove">
    ${csrf}<input type="hidden" name="kind" value="${kind}" /><input
      type="hidden"
      name="range"
      value="${range}"
    /><button aria-label="${label}">End</button>
  </form>`
}

function entryForm(form: URLSearchParams, problem: Problem | null, csrf: Html, isAdmin: boolean): Html {
  const spans = SPANS.filter(([, , hours]) => hours !== null || isAdmin)
  return html`<form method="post" action="/standing/add">
    ${csrf}
    <div class="fields">
      ${choiceField(
        'What',
        'kind',
        [
          ['ban', 'ban'],
          ['allow', 'allow'],
        ],
        form.get('kind') ?? 'ban',
      )}
      ${textField('Address or range', 'range', { value: form.get('range') ?? '', required: true, maxLength: 60 })}
      ${choiceField('For', 'class', [['', 'everything'], ...CLASSES.map(name => [name, `class ${name}`] as const)], form.get('class') ?? '')}
      ${choiceField(
        'How long',
        'span',
        spans.map(([value, text]) => [value, text] as const),
        form.get('span') ?? '1d',
      )}
      ${textField('Reason', 'reason', { value: form.get('reason') ?? '', required: true, maxLength: MAX_ENTRY_TEXT })}
    </div>
    ${
      problem?.confirm === true
        ? html`<p>
            <label
              ><input type="checkbox" name="sure" value="yes" required /> Refuse every agent of these
              sites</label
            >
          </p>`
        : null
    }
    <p class="dim">
      A ban refuses new connections; open ones go on. An allow beats bans and countries; rules, limits and TLS
      versions still hold. Only an allow that names a class opens what the policy closes.
    </p>
    <button class="primary">Set it</button>
  </form>`
}

function kindOf(text: string | null): OverlayKind | null {
  return text === 'ban' || text === 'allow' ? text : null
}

function classesOf(text: string): readonly TrafficClass[] | null | undefined {
  if (text === '') return null
  const known = CLASSES.find(entry => entry === text)
  return known === undefined ? undefined : [known]
}

function scopeText(classes: readonly string[] | null): string {
  return classes === null ? 'everything' : classes.join(', ')
}

function short(range: string): string {
  return range.replace(range.includes(':') ? /\/128$/ : /\/32$/, '')
}
