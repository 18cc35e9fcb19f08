// Deployments at a site: the class that installs new agents, opened for a few hours and closed again. The same as `portcullis enroll`.
import type { OverlayEntry } from '../../../journal/store-overlay.ts'
import { openingRange } from '../../../journal/store-openings.ts'
import type { Site, Snapshot } from '../../../policy/snapshot.ts'
import { agoText, choiceField, panel, state, textField } from '../components.ts'
import { MAX_REASON } from '../form.ts'
import { html, type Html } from '../html.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import { invalid, readWish, siteOf } from './site-forms.ts'
import { noSuchSite } from './site.ts'
import type { PageSources } from './sources.ts'

const HOUR_MS = 3_600_000
/** Nobody leaves a deployment open for longer than a few days. */
const TIMES = [
  ['2h', '2 hours', 2 * HOUR_MS],
  ['8h', '8 hours', 8 * HOUR_MS],
  ['1d', '1 day', 24 * HOUR_MS],
  ['7d', '7 days', 168 * HOUR_MS],
] as const

/** What the forms do. */
export function siteOpeningRoutes(sources: PageSources): readonly PageRoute[] {
  const base = { role: 'support', reach: 'sites', method: 'POST' } as const
  return [
    {
      ...base,
      path: '/sites/:site/enroll',
      action: 'open deployments for a site',
      run: request => open(request, sources),
    },
    {
      ...base,
      path: '/sites/:site/enroll/close',
      action: 'close deployments for a site',
      run: async request => {
        const site = siteOf(request, sources)
        if (site === null) return noSuchSite()
        const range = openingRange({ site: site.id })
        const removed = await sources.removeEntries('opening', range, request.view.operator.name)
        return {
          kind: 'redirect',
          to: link`/sites/${site.id}`,
          target: site.id,
          notice:
            removed.length === 0
              ? 'Deployments were not open any more.'
              : `Deployments are closed for ${site.name}.`,
        }
      },
    },
  ]
}

async function open(request: PageRequest, sources: PageSources): Promise<PageAnswer> {
  const { form, view, nowMs } = request
  const site = siteOf(request, sources)
  if (site === null) return noSuchSite()
  const wish = readWish(form, TIMES)
  if (typeof wish === 'string') return invalid(site, wish)
  await sources.addEntry({
    kind: 'opening',
    range: openingRange({ site: site.id }),
    classes: ['enroll'],
    reason: wish.reason,
    owner: view.operator.name,
    createdMs: nowMs,
    expiresMs: nowMs + wish.forMs,
  })
  return {
    kind: 'redirect',
    to: link`/sites/${site.id}`,
    target: site.id,
    notice: `New agents of ${site.name} can be installed through the gate for ${wish.forText}.`,
  }
}

/** Openings of a site that hold now. */
export function openingsOf(
  entries: readonly OverlayEntry[],
  { id }: Site,
  nowMs: number,
): readonly OverlayEntry[] {
  const range = openingRange({ site: id })
  return entries.filter(
    entry =>
      entry.kind === 'opening' &&
      entry.range === range &&
      (entry.expiresMs === null || entry.expiresMs > nowMs),
  )
}

/** Whether the policy itself lets the site install agents: then there is nothing to open. */
export function isEnrollOpen(site: Site, { classes }: Pick<Snapshot, 'classes'>): boolean {
  return (site.classes.get('enroll') ?? classes.get('enroll'))?.access.value === 'open'
}

/** What is open, and the forms. @param csrf null: this operator may not change it */
export function openingPanel(
  site: Site,
  openings: readonly OverlayEntry[],
  csrf: Html | null,
  nowMs: number,
): Html {
  const action = link`/sites/${site.id}/enroll`
  return panel(
    'Deployments',
    html`${
      openings.length === 0
        ? html`<p>New agents cannot be installed through the gate: the policy keeps class enroll closed.</p>`
        : openings.map(
            ({ reason, owner, expiresMs }) =>
              html`<p>
                ${state('warn', 'open')}, ends
                ${expiresMs === null ? 'when it is closed' : agoText(expiresMs, nowMs)}: ${reason}
                <span class="dim">${owner}</span>
              </p>`,
          )
    }
    ${
      csrf === null
        ? null
        : openings.length > 0
          ? html`<form method="post" action="${action}/close">${csrf}<button>Close it now</button></form>`
          : html`<form method="post" action="${action}" class="stack">
              ${csrf}
              ${choiceField(
                'Open for',
                'for',
                TIMES.map(([value, text]) => [value, text] as const),
              )}
              ${textField('Reason', 'reason', { required: true, maxLength: MAX_REASON })}
              <button>Open deployments</button>
            </form>`
    }`,
  )
}
