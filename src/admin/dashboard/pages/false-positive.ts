// From a hit that was wrong to the narrowest exception: what it says, what else it would let through, and putting it in force.
import type { StoredEvent } from '../../../journal/store-events.ts'
import type { RuleDetail } from '../../../journal/store-rule-hits.ts'
import type { RuleInfo } from '../../../ips/rule-set.ts'
import { pathShape } from '../../../journal/path-shape.ts'
import { counted, emptyState, exact, facts, panel, state } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import { exceptionPanel, mayApply, proposalFor } from './exceptions.ts'
import { hitOf, noSuchRule } from './rule.ts'
import { scopeOf } from './scope.ts'
import type { PageSources, ProposedException } from './sources.ts'

const WEEK_MS = 7 * 86_400_000

type Found = {
  readonly rule: RuleInfo
  readonly event: StoredEvent
  readonly proposed: ProposedException
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
  ]
}

async function find(request: PageRequest, sources: PageSources): Promise<Found | null> {
  const { params, view } = request
  const rule = sources.snapshot().rules.rules.find(entry => entry.id === params['rule'])
  if (rule === undefined) return null
  const events = await view.eventsByReference(params['reference'] ?? '')
  const event = events.find(entry => hitOf(entry, rule.id) !== undefined)
  return event === undefined ? null : { rule, event, proposed: proposalFor(event, request, sources) }
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
    ${panel(
      'What an exception would let through',
      html`<ul>
        <li>
          requests to exactly this path, from exactly this address, matched in exactly this field, until its
          end date
        </li>
        <li>
          in the last 7 days: ${counted(source?.hits ?? 0, 'hit')} of ${event.address}, of
          ${counted(
            alike.reduce((sum, place) => sum + place.hits, 0),
            'hit',
          )}
          at this path and field from anybody
        </li>
        <li>
          somebody else's attack from the same address to the same field, too:
          ${counted(detail.sources.length, 'source')} on record for this rule
        </li>
      </ul>`,
    )}
    ${exceptionPanel({ event, proposed, csrf })}
  `
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
