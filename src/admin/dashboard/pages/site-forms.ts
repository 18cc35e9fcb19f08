// Bans and allows of a site: the list, the forms of support, and what they do. A form reaches addresses of its site, no others.
import type { OverlayEntry } from '../../../journal/store-overlay.ts'
import { parseCidr } from '../../../net/cidr.ts'
import { CLASSES } from '../../../policy/classes.ts'
import type { Site } from '../../../policy/snapshot.ts'
import { agoText, choiceField, emptyState, state, table, textField } from '../components.ts'
import { MAX_REASON, readReason } from '../form.ts'
import { html, type Html } from '../html.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import { noSuchSite } from './site.ts'
import type { PageSources } from './sources.ts'
import { rangeWithin } from './within.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Times that can be chosen: support never sets anything for good. */
const TIMES = [
  ['1h', '1 hour', HOUR_MS],
  ['4h', '4 hours', 4 * HOUR_MS],
  ['1d', '1 day', DAY_MS],
  ['7d', '7 days', 7 * DAY_MS],
  ['30d', '30 days', 30 * DAY_MS],
] as const

/** What the forms of a site's page do. */
export function siteFormRoutes(sources: PageSources): readonly PageRoute[] {
  const change = (kind: 'ban' | 'allow') => (request: PageRequest) => add(kind, request, sources)
  const base = { role: 'support', reach: 'sites', method: 'POST' } as const
  return [
    { ...base, path: '/sites/:site/allow', action: 'allow an address of a site', run: change('allow') },
    { ...base, path: '/sites/:site/ban', action: 'ban an address of a site', run: change('ban') },
    {
      ...base,
      path: '/sites/:site/lift',
      action: 'lift a ban or allow of a site',
      run: async request => {
        const site = siteOf(request, sources)
        if (site === null) return noSuchSite()
        const kind = request.form.get('kind') === 'allow' ? 'allow' : 'ban'
        const range = request.form.get('range') ?? ''
        if (!rangeWithin(range, site.ranges)) return notHere(site)
        const removed = await sources.removeEntries(kind, range, request.view.operator.name)
        return {
          kind: 'redirect',
          to: link`/sites/${site.id}`,
          target: range,
          notice:
            removed.length === 0
              ? `There was no ${kind} of ${range} any more.`
              : `The ${kind} of ${range} is lifted.`,
        }
      },
    },
  ]
}

async function add(kind: 'ban' | 'allow', request: PageRequest, sources: PageSources): Promise<PageAnswer> {
  const { form, view, nowMs } = request
  const site = siteOf(request, sources)
  if (site === null) return noSuchSite()
  const range = parseCidr((form.get('range') ?? '').trim())
  if (typeof range === 'string' || !rangeWithin(range.text, site.ranges)) return notHere(site)
  const wish = readWish(form, TIMES)
  if (typeof wish === 'string') return invalid(site, wish)
  const wanted = form.get('class') ?? ''
  const trafficClass = CLASSES.find(entry => entry === wanted)
  if (wanted !== '' && trafficClass === undefined) return invalid(site, 'Choose one of the classes.')
  await sources.addEntry({
    kind,
    range: range.text,
    classes: trafficClass === undefined ? null : [trafficClass],
    reason: wish.reason,
    owner: view.operator.name,
    createdMs: nowMs,
    expiresMs: nowMs + wish.forMs,
  })
  return {
    kind: 'redirect',
    to: link`/sites/${site.id}`,
    target: range.text,
    notice: `${range.text} is ${kind === 'ban' ? 'banned' : 'allowed'} for ${wish.forText}.`,
  }
}

/** Times that a form offers: value, words, milliseconds. */
export type Times = readonly (readonly [value: string, words: string, ms: number])[]

/** Why, and for how long: what every form of a site asks for; or a sentence that says what is wrong with it. */
export function readWish(
  form: URLSearchParams,
  times: Times,
): { readonly reason: string; readonly forMs: number; readonly forText: string } | string {
  const reason = readReason(form)
  if (reason === null)
    return `A reason of 1 to ${MAX_REASON} plain characters is needed: colleagues will read it.`
  const time = times.find(([value]) => value === form.get('for'))
  return time === undefined ? 'Choose how long it shall last.' : { reason, forText: time[1], forMs: time[2] }
}

/** The site of the path, as far as this operator sees it. */
export function siteOf({ params, view }: PageRequest, sources: PageSources): Site | null {
  const site = sources.snapshot().sites.find(entry => entry.id === params['site'])
  return site !== undefined && view.sees(site.id) ? site : null
}

function notHere(site: Site): PageAnswer {
  return invalid(site, `Write an address or range of ${site.name}: ${rangesOf(site)}.`)
}

/** Nothing was changed, and why. */
export function invalid(site: Site, what: string): PageAnswer {
  return {
    kind: 'page',
    title: 'Nothing was changed',
    status: 400,
    body: emptyState(what, html`<a href="${link`/sites/${site.id}`}">Back to ${site.name}</a>`),
  }
}

function rangesOf(site: Site): string {
  return site.ranges.map(range => withoutFullPrefix(range.text)).join(', ')
}

function withoutFullPrefix(range: string): string {
  return range.replace(range.includes(':') ? /\/128$/ : /\/32$/, '')
}

/** Bans and allows of the site's addresses. @param csrf null: this operator may not lift them */
export function entryList(
  entries: readonly OverlayEntry[],
  site: Site,
  csrf: Html | null,
  nowMs: number,
): Html {
  if (entries.length === 0) return emptyState('No ban and no allow concerns this site.')
  return table(
    'Bans and allows of this site',
    [
      { head: 'What', short: true },
      { head: 'Range' },
      { head: 'Class' },
      { head: 'Reason', long: true },
      { head: 'Ends', short: true },
      { head: 'Change' },
    ],
    entries.map(entry => [
      entry.kind === 'ban' ? state('bad', 'ban') : state('good', 'allow'),
      withoutFullPrefix(entry.range),
      entry.classes === null ? 'every class' : entry.classes.join(', '),
      html`${entry.reason} <span class="dim">${entry.owner}</span>`,
      entry.expiresMs === null ? 'never' : agoText(entry.expiresMs, nowMs),
      csrf === null
        ? '–'
        : !rangeWithin(entry.range, site.ranges)
          ? 'reaches beyond this site'
          : html`<form method="post" action="${link`/sites/${site.id}/lift`}">
              ${csrf}<input type="hidden" name="kind" value="${entry.kind}" /><input
                type="hidden"
                name="range"
                value="${entry.range}"
              /><button class="quiet">
                Lift<span class="unseen"> the ${entry.kind} of ${entry.range}</span>
              </button>
            </form>`,
    ]),
  )
}

/** The forms to allow and to ban for a time. */
export function standingForms(site: Site, csrf: Html): Html {
  const first = site.ranges[0]
  const value = first === undefined ? '' : withoutFullPrefix(first.text)
  const fields = (id: string): Html =>
    html`${csrf}
      ${textField('Address or range', 'range', { value, required: true, maxLength: 64, list: `ranges-${id}` })}
      <datalist id="ranges-${id}">
        ${site.ranges.map(range => html`<option value="${withoutFullPrefix(range.text)}"></option>`)}
      </datalist>
      ${choiceField(
        'For',
        'for',
        TIMES.map(([value, text]) => [value, text]),
        '1d',
      )}
      ${choiceField('Class', 'class', [['', 'every class'], ...CLASSES.map(name => [name, name] as const)])}
      ${textField('Reason', 'reason', { required: true, maxLength: MAX_REASON })}`
  return html`<div class="pair">
    <form method="post" action="${link`/sites/${site.id}/allow`}" class="stack">
      <h3>Allow for a time</h3>
      <p class="dim small">Beats bans and countries; protection rules still hold.</p>
      ${fields('allow')} <button>Allow</button>
    </form>
    <form method="post" action="${link`/sites/${site.id}/ban`}" class="stack">
      <h3>Ban for a time</h3>
      <p class="dim small">
        New connections are refused at once; all agents behind the address are lost meanwhile.
      </p>
      ${fields('ban')} <button class="danger">Ban</button>
    </form>
  </div>`
}
