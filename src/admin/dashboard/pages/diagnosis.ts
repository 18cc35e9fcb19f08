// The diagnosis on a page: one sentence per address, and the fix.
import { counted, panel, state } from '../components.ts'
import { html, type Html } from '../html.ts'
import { link } from '../page.ts'
import type { AddressDiagnosis } from './sources.ts'

/** The panel. @param addresses addresses from which something came */
export function diagnosisPanel(diagnoses: readonly AddressDiagnosis[] | null, addresses: number): Html {
  if (diagnoses === null) {
    return panel(
      'Diagnosis',
      html`<p class="empty" role="status">The diagnosis is being worked out; this page renews itself.</p>`,
    )
  }
  const unwell = diagnoses.filter(entry => !entry.healthy)
  const healthy = diagnoses.filter(entry => entry.healthy)
  const rest = addresses - diagnoses.length
  // What is wrong for all of them in the same way is said once.
  const alike = Map.groupBy(unwell, ({ cause, sentence, address }) =>
    JSON.stringify([cause, sentence.replaceAll(address, '')]),
  )
  return panel(
    'Diagnosis',
    html`
      ${[...alike.values()].map(
        group =>
          html`<article class="diagnosis">
            ${group.slice(0, 1).map(entry => html`<p>${state('bad', entry.cause)} ${entry.sentence}</p>`)}
            ${group.length === 1 ? null : html`<p>The same holds for ${counted(group.length - 1, 'other address', 'other addresses')}.</p>`}
            ${group.slice(0, 1).map(entry => fixView(entry))}
            <p class="small">
              All about
              ${group.map(
                ({ address }, index) =>
                  html`${index === 0 ? '' : ', '}<a href="${link`/addresses/${address}`}">${address}</a>`,
              )}
            </p>
          </article>`,
      )}
      ${healthy.map(entry =>
        entry.cause === 'trial'
          ? html`<article class="diagnosis">
              <p>${state('warn', 'on trial')} ${entry.sentence}</p>
              ${fixView(entry)}
            </article>`
          : html`<p>${state('good', 'healthy')} ${entry.sentence}</p>`,
      )}
      ${diagnoses.length === 0 ? html`<p class="dim">No address to diagnose: nothing came from this site, and it has no single address.</p>` : null}
      ${rest > 0 ? html`<p class="dim small">${counted(rest, 'more address', 'more addresses')} below, each with its own diagnosis.</p>` : null}
    `,
  )
}

/** Steps and YAML of a fix. */
function fixView({ steps, yaml }: Pick<AddressDiagnosis, 'steps' | 'yaml'>): Html {
  return html`
    ${
      steps.length === 0
        ? null
        : html`<ol class="steps">
            ${steps.map(step => html`<li>${step}</li>`)}
          </ol>`
    }
    ${yaml === null ? null : html`<pre class="yaml" tabindex="0" aria-label="YAML for the policy"><code>${yaml}</code></pre>`}
  `
}
