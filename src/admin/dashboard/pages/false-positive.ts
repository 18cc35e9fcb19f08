// From a hit that was wrong to the narrowest exception: what it says, what else it would let through, and putting it in force.
import type { StoredEvent } from '../../../journal/store-events.ts'
import type { RuleDetail } from '../../../journal/store-rule-hits.ts'
import type { RuleInfo } from '../../../ips/rule-set.ts'
import { pathShape } from '../../../journal/path-shape.ts'
import { counted, emptyState, exact, facts, numberText, panel, state, textField } from '../components.ts'
import { html, type Html } from '../html.ts'
import { hasRole } from '../layout.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import { startPlan } from './plan.ts'
import { hitOf, noSuchRule } from './rule.ts'
import { scopeOf } from './scope.ts'
import type { PageSources, ProposedException } from './sources.ts'

const WEEK_MS = 7 * 86_400_000
const MAX_REASON = 200
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

type Found = {
  readonly rule: RuleInfo
  readonly event: StoredEvent
  readonly proposed: ProposedException | null
}

/** The workflow of a false positive. */
export function falsePositiveRoutes(sources: PageSources): readonly PageRoute[] {
  const path = '/rules/:rule/false-positive/:reference'
  return [
    {
      method: 'GET',
      path,
      role: 'support',
      reach: 'sites',
      run: async request => {
        const found = await find(request, sources)
        if (found === null) return noSuchHit(request)
        const { view, nowMs, csrf } = request
        const detail = await sources.ask('ruleDetail', found.rule.id, nowMs - WEEK_MS, scopeOf(view))
        return {
          kind: 'page',
          title: 'Is this a false positive?',
          body: falsePositiveView({ ...found, detail, csrf: mayApply(request) ? csrf : null }),
        }
      },
    },
    {
      method: 'POST',
      path,
      role: 'admin',
      // Writes the policy of the whole gate: nobody who is limited to sites does that.
      reach: 'gate',
      action: 'plan an exception from a rule',
      run: request => apply(request, sources),
    },
  ]
}

async function apply(request: PageRequest, sources: PageSources): Promise<PageAnswer> {
  const found = await find(request, sources)
  if (found === null || found.proposed === null) return noSuchHit(request)
  const { rule, event, proposed } = found
  const { form, view } = request
  const reason = (form.get('reason') ?? '').trim()
  const back = link`/rules/${rule.id}/false-positive/${event.reference ?? ''}`
  if (reason === '' || reason.length > MAX_REASON || UNSAFE.test(reason))
    return refusedForm(`A reason of 1 to ${MAX_REASON} plain characters is needed.`, back)
  const { name } = view.operator
  const yaml = proposed.yaml
    .replaceAll('reason: why this is legitimate', () => `reason: ${JSON.stringify(reason)}`)
    .replaceAll('owner: your name', () => `owner: ${JSON.stringify(name)}`)
  const { reference } = event
  const subject = `an exception from ${rule.id}${reference === null ? '' : ` for ${reference}`}`
  const meaning = [
    `Rule ${rule.id} does not act on this path and field from ${event.address ?? ''} any more, until the end date.`,
    'All other rules still look at these requests, and this one at those of everybody else.',
  ]
  return startPlan(
    {
      kind: 'patch',
      yaml,
      subject,
      meaning,
      reason: `false positive of ${rule.id}: ${reason}`.slice(0, 300),
    },
    name,
    rule.id,
    sources,
  )
}

function refusedForm(what: string, back: string): PageAnswer {
  return {
    kind: 'page',
    title: 'Nothing was changed',
    status: 400,
    body: emptyState(what, html`<a href="${back}">Back</a>`),
  }
}

function mayApply({ view }: PageRequest): boolean {
  return hasRole(view.operator, 'admin') && !view.isLimited
}

async function find({ params, view }: PageRequest, sources: PageSources): Promise<Found | null> {
  const rule = sources.snapshot().rules.rules.find(entry => entry.id === params['rule'])
  if (rule === undefined) return null
  const events = await view.eventsByReference(params['reference'] ?? '')
  const event = events.find(entry => hitOf(entry, rule.id) !== undefined)
  return event === undefined ? null : { rule, event, proposed: sources.exceptionFor(event, rule.id) }
}

function noSuchHit({ params }: PageRequest): PageAnswer {
  const answer = noSuchRule()
  return {
    ...answer,
    title: 'No such hit',
    body: emptyState(
      'No hit of this rule is on record under that reference.',
      html`<a href="${link`/rules/${params['rule'] ?? ''}`}">Back to the rule</a>`,
    ),
  }
}

/** What the page shows. */
export type FalsePositiveData = Found & {
  readonly detail: RuleDetail
  /** Null: this operator may not change the policy. */
  readonly csrf: Html | null
}

/** The page. */
export function falsePositiveView({ rule, event, proposed, detail, csrf }: FalsePositiveData): Html {
  const hit = hitOf(event, rule.id)
  const { method, host, path } = event.fields
  const alike = detail.places.filter(
    place => place.path === pathShape(text(path)) && place.field === text(hit?.field),
  )
  const source = detail.sources.find(entry => entry.address === event.address)
  return html`
    <p><a href="/rules">Rules</a> / <a href="${link`/rules/${rule.id}`}">${rule.title}</a></p>
    ${panel(
      'The hit',
      facts([
        ['When', exact(event.timeMs)],
        ['Reference', html`<code>${event.reference}</code>`],
        ['Client', html`${event.address} ${event.site === null ? '' : html`of site ${event.site}`}`],
        ['Request', html`<code>${text(method)} ${text(host)}${text(path)}</code>`],
        ['Matched', html`<code>${text(hit?.field)}</code>: <code>${text(hit?.value)}</code>`],
        [
          'Who it is',
          source?.knownAgent === true
            ? state('warn', 'a known agent: it checks in regularly')
            : state('bad', 'a stranger: no agent has checked in from there'),
        ],
      ]),
    )}
    ${
      proposed === null
        ? panel(
            'The exception',
            emptyState('No exception can be named for this hit.', 'It may come from an older version.'),
          )
        : panel(
            'The narrowest exception',
            html`
              <p>It would let through, of this rule only:</p>
              <ul>
                <li>
                  requests to exactly this path, from exactly this address, matched in exactly this field,
                  until its end date
                </li>
                <li>
                  in the last 7 days: ${counted(source?.hits ?? 0, 'hit')} of ${event.address}, of
                  ${counted(
                    alike.reduce((sum, place) => sum + place.hits, 0),
                    'hit',
                  )}
                  at this path and field from anybody
                </li>
                <li>all other rules still look at these requests</li>
              </ul>
              <pre
                class="yaml"
                tabindex="0"
                aria-label="YAML for the policy"
              ><code>${proposed.yaml}</code></pre>
              <p class="dim small">
                On the command line: <code>${proposed.command}</code>. Somebody else's attack from the same
                address to the same field would pass, too: ${numberText(detail.sources.length)} sources are on
                record for this rule.
              </p>
              ${csrf === null ? html`<p>An admin can put it in force, or add it to portcullis.yaml.</p>` : applyForm(rule, event, csrf)}
            `,
          )
    }
  `
}

function applyForm(rule: RuleInfo, event: StoredEvent, csrf: Html): Html {
  return html`<form
    method="post"
    class="stack"
    action="${link`/rules/${rule.id}/false-positive/${event.reference ?? ''}`}"
  >
    ${csrf} ${textField('Why is this legitimate?', 'reason', { required: true, maxLength: MAX_REASON })}
    <button>See what it changes</button>
  </form>`
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
