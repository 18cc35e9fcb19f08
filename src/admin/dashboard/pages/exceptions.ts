// Exceptions: which there are and whether anything needs them, and the way from one refusal to the narrowest one.
import type { StoredEvent } from '../../../journal/store-events.ts'
import { sentenceOfRow } from '../../../journal/catalogue.ts'
import { CLASSES } from '../../../policy/classes.ts'
import { REASONS } from '../../../policy/reasons.ts'
import { ago, choiceField, emptyState, exact, facts, panel, state, table, textField } from '../components.ts'
import { readReason } from '../form.ts'
import { html, type Html } from '../html.ts'
import { hasRole } from '../layout.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import { startPlan } from './plan.ts'
import { isReason } from './refusals.ts'
import type { ListedException } from '../../../policy/expiring.ts'
import type { ExceptionWish, PageSources, ProposedException } from './sources.ts'

const DAY_MS = 86_400_000
const SOON_MS = 14 * DAY_MS
const MAX_REASON = 200
/** How long an exception may last: policies count in days. */
const SPANS = [
  ['7d', '7 days', 7],
  ['1d', '1 day', 1],
  ['30d', '30 days', 30],
  ['90d', '90 days', 90],
  ['1y', 'a year', 366],
] as const
const WEEK_MS = 7 * DAY_MS

/** Pages of exceptions. */
export function exceptionRoutes(sources: PageSources): readonly PageRoute[] {
  const path = '/exceptions/:reference'
  return [
    {
      method: 'GET',
      path: '/exceptions',
      role: 'viewer',
      reach: 'gate',
      navigation: { group: 'Protection', label: 'Exceptions' },
      run: async ({ nowMs }) => {
        await sources.flush()
        return {
          kind: 'page',
          title: 'Exceptions',
          body: exceptionListView(await sources.exceptions(), nowMs),
        }
      },
    },
    {
      method: 'GET',
      path,
      role: 'support',
      reach: 'sites',
      run: async request => {
        const event = await find(request)
        if (event === null) return noSuchEvent()
        return {
          kind: 'page',
          title: 'Except a refusal',
          body: exceptionView({
            event,
            proposed: proposalFor(event, request, sources),
            csrf: mayApply(request) ? request.csrf : null,
          }),
        }
      },
    },
    {
      method: 'POST',
      path,
      role: 'admin',
      // Writes the policy of the whole gate: nobody who is limited to sites does that.
      reach: 'gate',
      action: 'plan an exception',
      run: request => planException(request, sources),
    },
  ]
}

/** Whether this operator may change the policy. */
export function mayApply({ view }: PageRequest): boolean {
  return hasRole(view.operator, 'admin') && !view.isLimited
}

/** What an exception for an event would say, before anybody has given a reason. */
export function proposalFor(
  event: StoredEvent,
  { view }: PageRequest,
  sources: PageSources,
): ProposedException {
  return sources.exceptionFor(event, {
    reason: 'why this is legitimate',
    owner: view.operator.name,
    spanMs: WEEK_MS,
    classes: null,
    evenVirtualPatch: false,
  })
}

async function planException(request: PageRequest, sources: PageSources): Promise<PageAnswer> {
  const event = await find(request)
  if (event === null) return noSuchEvent()
  const { form, view } = request
  const reference = event.reference ?? ''
  const reason = readReason(form, MAX_REASON)
  if (reason === null)
    return unplanned(`A reason of 1 to ${MAX_REASON} plain characters is needed.`, '', reference)
  const span = SPANS.find(([value]) => value === form.get('for'))
  if (span === undefined) return unplanned('Choose how long the exception lasts.', '', reference)
  const wanted = form.get('class') ?? ''
  const classes = CLASSES.filter(name => name === wanted)
  if (wanted !== '' && classes.length === 0) return unplanned('There is no such class.', '', reference)
  const wish: ExceptionWish = {
    reason,
    owner: view.operator.name,
    spanMs: span[2] * DAY_MS,
    classes: classes.length === 0 ? null : classes,
    evenVirtualPatch: form.get('patch') === 'yes',
  }
  const proposed = sources.exceptionFor(event, wish)
  if (!proposed.ok) return unplanned(proposed.problem, proposed.remedy, reference)
  return startPlan(
    {
      kind: 'patch',
      yaml: proposed.yaml,
      subject: `an exception for ${reference}`,
      meaning: [proposed.opens, proposed.stays],
      reason: `exception for ${reference}: ${reason}`,
    },
    view.operator.name,
    reference,
    sources,
  )
}

async function find({ params, view }: PageRequest): Promise<StoredEvent | null> {
  const reference = (params['reference'] ?? '').toUpperCase().slice(0, 40)
  return (await view.eventsByReference(reference))[0] ?? null
}

function noSuchEvent(): PageAnswer {
  return {
    kind: 'page',
    title: 'No such refusal',
    status: 404,
    body: emptyState(
      'Nothing is known under this reference.',
      'It may be mistyped, older than what the journal keeps, or of a site that you do not see.',
    ),
  }
}

function unplanned(problem: string, remedy: string, reference: string): PageAnswer {
  return {
    kind: 'page',
    title: 'Nothing was changed',
    status: 400,
    body: html`<p>${problem}</p>
      <p class="dim">${remedy}</p>
      <p><a href="${link`/exceptions/${reference}`}">Back</a></p>`,
  }
}

/** What the page of one refusal shows. */
export type ExceptionData = {
  readonly event: StoredEvent
  readonly proposed: ProposedException
  /** Null: this operator may not change the policy. */
  readonly csrf: Html | null
}

/** The page of one refusal. */
export function exceptionView({ event, proposed, csrf }: ExceptionData): Html {
  const { reference, reason, fields } = event
  const why = reason !== null && isReason(reason) ? REASONS[reason] : null
  return html`
    <p>
      <a href="/exceptions">Exceptions</a> /
      <a href="${link`/references/${reference ?? ''}`}">${reference}</a>
    </p>
    ${panel(
      'What was refused',
      facts([
        ['When', exact(event.timeMs)],
        ['Client', html`${event.address ?? '–'} ${event.site === null ? '' : html`of site ${event.site}`}`],
        ['What', sentenceOfRow(event.name, fields) ?? event.name],
        ...(why === null ? [] : ([['Remedy', why.remedy]] as const)),
      ]),
    )}
    ${exceptionPanel({ event, proposed, csrf })}
  `
}

/** The narrowest exception: what it says, what it opens, and the form that plans it. */
export function exceptionPanel({ event, proposed, csrf }: ExceptionData): Html {
  const isPatch = !proposed.ok && proposed.code === 'virtual-patch'
  const command = `bin/portcullis allow --from ${event.reference ?? ''} --reason "..."`
  const body = proposed.ok
    ? html`<p>${proposed.opens}</p>
        <p>${proposed.stays}</p>
        <pre class="yaml" tabindex="0" aria-label="YAML for the policy"><code>${proposed.yaml}</code></pre>
        <p class="dim small">On the command line: <code>${command}</code></p>`
    : html`<p>${state('warn', proposed.problem)}</p>
        <p class="dim">${proposed.remedy}</p>`
  return panel(
    'The narrowest exception',
    html`${body}
    ${
      !proposed.ok && !isPatch
        ? null
        : csrf === null
          ? html`<p>An admin can put it in force, or add it to portcullis.yaml.</p>`
          : exceptionForm(event, isPatch, csrf)
    }`,
  )
}

function exceptionForm(
  { reference, class: trafficClass, reason }: StoredEvent,
  isPatch: boolean,
  csrf: Html,
): Html {
  // Refused before anything was asked: only a person knows who sits there.
  const isAtTheDoor = trafficClass === null && reason !== null && reason !== 'tls-version-too-low'
  return html`<form method="post" class="stack" action="${link`/exceptions/${reference ?? ''}`}">
    ${csrf} ${textField('Why is this legitimate?', 'reason', { required: true, maxLength: MAX_REASON })}
    ${choiceField(
      'It ends after',
      'for',
      SPANS.map(([value, text]) => [value, text] as const),
    )}
    ${
      isAtTheDoor
        ? choiceField('What is let in', 'class', [
            ['', 'what agents use'],
            ...CLASSES.map(name => [name, name] as const),
          ])
        : null
    }
    ${
      isPatch
        ? html`<label class="check"
            ><input type="checkbox" name="patch" value="yes" required /> The RMM server itself is patched, and
            this request is legitimate</label
          >`
        : null
    }
    <button>See what it changes</button>
  </form>`
}

/** The list. */
export function exceptionListView(list: readonly ListedException[], nowMs: number): Html {
  if (list.length === 0)
    return emptyState(
      'There are no exceptions: the policy holds for everybody.',
      html`From a refusal in <a href="/events?severity=warning">the events</a>, its reference leads to the
        narrowest one.`,
    )
  return table(
    'Exceptions, those that end soonest first',
    [
      { head: 'What it opens', long: true },
      { head: 'Ends', short: true },
      { head: 'Last needed', short: true },
      { head: 'Why', long: true },
      { head: 'Who', short: true },
      { head: 'Stated at' },
    ],
    list.map(entry => [
      entry.what,
      endOf(entry, nowMs),
      entry.lastUsedMs === null
        ? html`<span class="dim">not in 30 days</span>`
        : ago(entry.lastUsedMs, nowMs),
      entry.reason,
      entry.owner,
      html`<code>${entry.line}</code>`,
    ]),
  )
}

function endOf({ expiresMs, ended }: ListedException, nowMs: number): Html {
  if (expiresMs === null) return state('warn', 'never')
  // An exception lasts through its last day.
  const day = new Date(expiresMs - 1).toISOString().slice(0, 10)
  if (ended) return state('bad', `ended ${day}`)
  return state(expiresMs - nowMs <= SOON_MS ? 'warn' : 'good', day)
}
