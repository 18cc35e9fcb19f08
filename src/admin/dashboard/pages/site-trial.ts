// What a site owes to a trial: addresses of it that would be refused, each with why and the page that says what helps.
import type { StoredEvent } from '../../../journal/store-events.ts'
import { REASONS } from '../../../policy/reasons.ts'
import type { Trial } from '../../../policy/trial.ts'
import { ago, counted, panel } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link } from '../page.ts'

const SHOWN = 20

/** The panel; null: nothing is on trial here. @param events of the site, newest first */
export function siteTrialPanel(
  trials: readonly Trial[],
  events: readonly StoredEvent[],
  nowMs: number,
): Html | null {
  if (trials.length === 0) return null
  const newest = new Map<string, StoredEvent>()
  for (const event of events) {
    const key = `${event.address} ${String(event.fields['wouldBe'])}`
    if (event.name === 'trial.admitted' && !newest.has(key)) newest.set(key, event)
  }
  const addresses = new Set([...newest.values()].map(({ address }) => address)).size
  return panel(
    'On trial',
    newest.size === 0
      ? html`<p>Nobody at this site has needed the trial in the last 7 days.</p>`
      : html`<p>
            ${counted(addresses, 'address', 'addresses')} passed in the last 7 days only because of the trial,
            and would be refused:
          </p>
          <ul class="plain">
            ${[...newest.values()].slice(0, SHOWN).map(
              ({ address, timeMs, fields }) =>
                html`<li>
                  <a href="${link`/addresses/${address ?? ''}`}">${address ?? ''}</a>
                  <span class="dim">${ago(timeMs, nowMs)}</span> ${becauseOf(fields)}
                </li>`,
            )}
          </ul>`,
  )
}

function becauseOf({ wouldBe, saw }: StoredEvent['fields']): string {
  const because =
    typeof wouldBe === 'string' && Object.hasOwn(REASONS, wouldBe)
      ? REASONS[wouldBe as keyof typeof REASONS].because
      : String(wouldBe)
  return typeof saw === 'string' && saw !== '' ? `${because} (${saw})` : because
}
