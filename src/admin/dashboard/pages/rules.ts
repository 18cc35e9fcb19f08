// The list of rules: mode, pack, hits of the last week, the sites they hit, and whether known agents are among them.
import type { RuleInfo } from '../../../ips/rule-set.ts'
import type { RuleAgents } from '../../../journal/store-rule-hits.ts'
import type { RuleHits } from '../../../journal/store-traffic.ts'
import {
  choiceField,
  counted,
  emptyState,
  figure,
  numberText,
  state,
  table,
  textField,
} from '../components.ts'
import { html, type Content, type Html } from '../html.ts'
import { link, type PageRoute } from '../page.ts'
import { scopeOf } from './scope.ts'
import { pageLinks } from './sites.ts'
import type { PageSources } from './sources.ts'

const WEEK_MS = 7 * 86_400_000
const PER_PAGE = 100
/** Rules whose sources are looked up for the list: those with hits, most hits first. */
const LOOKED_AT = 100

/** The list of rules. */
export function rulesRoutes(sources: PageSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/rules',
      role: 'viewer',
      reach: 'sites',
      navigation: { group: 'Protection', label: 'Rules' },
      run: async ({ view, query, nowMs }) => {
        const scope = scopeOf(view)
        const hits = await sources.ask('ruleHits', nowMs - WEEK_MS, scope)
        const agents = await sources.ask(
          'ruleAgents',
          hits.slice(0, LOOKED_AT).map(entry => entry.rule),
          nowMs - WEEK_MS,
          scope,
          nowMs,
        )
        return {
          kind: 'page',
          title: 'Rules',
          body: rulesView({
            rules: sources.snapshot().rules.rules,
            hits,
            agents,
            search: (query.get('q') ?? '').slice(0, 100),
            show: query.get('show') === 'all' ? 'all' : 'hits',
            page: Number(query.get('page') ?? 1),
          }),
        }
      },
    },
  ]
}

/** What the list shows. */
export type RulesData = {
  readonly rules: readonly RuleInfo[]
  readonly hits: readonly RuleHits[]
  readonly agents: readonly RuleAgents[]
  readonly search: string
  readonly show: 'all' | 'hits'
  readonly page: number
}

type Row = { readonly rule: RuleInfo; readonly hits: RuleHits | null; readonly agents: RuleAgents | null }

/** The list with its filters. Rules that hit known agents come first: those are the false positives. */
export function rulesView({ rules, hits, agents, search, show, page: asked }: RulesData): Html {
  const hitsOf = new Map(hits.map(entry => [entry.rule, entry]))
  const agentsOf = new Map(agents.map(entry => [entry.rule, entry]))
  const rows = rules.map((rule): Row => ({
    rule,
    hits: hitsOf.get(rule.id) ?? null,
    agents: agentsOf.get(rule.id) ?? null,
  }))
  const gone = hits.filter(entry => !rules.some(rule => rule.id === entry.rule))
  const word = search.trim().toLowerCase()
  const found = rows
    .filter(({ rule }) => word === '' || textOf(rule).includes(word))
    .filter(row => show === 'all' || row.hits !== null)
    .toSorted((a, b) => suspicion(b) - suspicion(a) || count(b.hits) - count(a.hits))
  const pages = Math.max(1, Math.ceil(found.length / PER_PAGE))
  const page = Math.min(pages, Math.max(1, Number.isInteger(asked) ? asked : 1))
  const suspects = rows.filter(row => suspicion(row) > 0).length
  return html`
    <div class="figures">
      ${figure('Rules', numberText(rules.length), `${numberText(rules.filter(rule => rule.mode === 'enforce').length)} enforce`)}
      ${figure('With hits', numberText(rows.filter(row => row.hits !== null).length), 'in the last 7 days')}
      ${figure('Hit known agents', numberText(suspects), suspects === 0 ? 'no false positive in sight' : 'look at these first')}
    </div>
    <form method="get" action="/rules" class="filters" role="search">
      ${textField('Search', 'q', { type: 'search', value: search, maxLength: 100, hint: 'id, title, pack or tag' })}
      ${choiceField(
        'Show',
        'show',
        [
          ['hits', 'rules with hits'],
          ['all', 'all rules'],
        ],
        show,
      )}
      <button>Show</button>
    </form>
    ${
      found.length === 0
        ? emptyState(
            rules.length === 0
              ? 'No rule is in use.'
              : hits.length === 0 && show === 'hits'
                ? 'No rule has hit anything in the last 7 days.'
                : 'No rule fits.',
            html`<a href="/rules?show=all">Show all rules</a>`,
          )
        : ruleTable(found.slice((page - 1) * PER_PAGE, page * PER_PAGE))
    }
    ${pages === 1 ? null : pageLinks(page, pages, { q: search, show })}
    ${gone.length === 0 ? null : html`<p class="dim">${counted(gone.length, 'rule')} that hit in the last 7 days ${gone.length === 1 ? 'is' : 'are'} no longer in use: ${gone.map(entry => entry.rule).join(', ')}.</p>`}
  `
}

function ruleTable(rows: readonly Row[]): Html {
  return table(
    'Rules with their mode, hits of the last 7 days and what they hit',
    [
      { head: 'Rule', long: true },
      { head: 'Mode', short: true },
      { head: 'Pack' },
      { head: 'Refused', numeric: true },
      { head: 'Recorded only', numeric: true },
      { head: 'Sites' },
      { head: 'Known agents' },
    ],
    rows.map(({ rule, hits, agents }) => [
      html`<a href="${link`/rules/${rule.id}`}">${rule.title}</a> <span class="dim small">${rule.id}</span>`,
      modeState(rule),
      rule.pack,
      numberText(hits?.refused ?? 0),
      numberText(hits?.detected ?? 0),
      siteWords(hits),
      agentWords(agents),
    ]),
  )
}

/** Mode of a rule, with the places where it is another one. */
export function modeState({ mode, overrides }: Pick<RuleInfo, 'mode' | 'overrides'>): Html {
  const tone = mode === 'enforce' ? 'good' : mode === 'detect' ? 'warn' : 'idle'
  return html`${state(tone, mode)}${overrides.length === 0 ? null : html` <span class="dim small">else in places</span>`}`
}

function siteWords(hits: RuleHits | null): Content {
  if (hits === null) return '–'
  const shown = hits.sites.slice(0, 3)
  const more = hits.sites.length - shown.length
  const parts = [...shown, ...(more > 0 ? [`${more} more`] : []), ...(hits.outside ? ['no site'] : [])]
  return parts.join(', ')
}

function agentWords(agents: RuleAgents | null): Content {
  if (agents === null || agents.sources === 0) return '–'
  if (agents.knownAgents === 0) return html`<span class="dim">none of ${agents.sources} newest sources</span>`
  return state('bad', `${agents.knownAgents} of ${agents.sources} newest sources`)
}

function suspicion({ agents }: Row): number {
  return agents?.knownAgents ?? 0
}

function count(hits: RuleHits | null): number {
  return hits === null ? 0 : hits.detected + hits.refused
}

function textOf({ id, title, pack, tags }: RuleInfo): string {
  return [id, title, pack, ...tags].join(' ').toLowerCase()
}
