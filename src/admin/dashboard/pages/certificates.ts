// Certificates in use: for which name, until when, and where they come from.
import type { CertificateState } from '../../status.ts'
import { emptyState, exact, panel, state, table } from '../components.ts'
import { html, type Html } from '../html.ts'
import type { GetRoute } from '../page.ts'

const DAY_MS = 86_400_000

/** What the page needs beside the view. */
export type CertificateSources = {
  /** Host names that the policy serves. */
  readonly names: () => readonly string[]
}

/** The route. */
export function certificateRoute(sources: CertificateSources): GetRoute {
  return {
    method: 'GET',
    path: '/certificates',
    role: 'viewer',
    reach: 'gate',
    navigation: { group: 'Gate', label: 'Certificates' },
    run: ({ view }) => {
      const { certificates, nowMs } = view.status()
      const without = sources.names().filter(name => !certificates.some(entry => entry.name === name))
      const sorted = certificates.toSorted((a, b) => a.validToMs - b.validToMs)
      return {
        kind: 'page',
        title: 'Certificates',
        body: html`${without.map(
            name =>
              html`<p class="problem">
                There is no usable certificate for ${name}: TLS fails for everybody who asks for it. Put its
                certificate and key into the certs directory;
                <a href="/events?name=certificate.rejected">refused files</a> say why.
              </p>`,
          )}
          ${panel(
            'In use',
            sorted.length === 0
              ? emptyState(
                  'No certificate is in use.',
                  'Put certificates into the certs directory; they are taken up by themselves.',
                )
              : table(
                  'Certificates in use, soonest end first',
                  [
                    { head: 'Name' },
                    { head: 'Left', short: true },
                    { head: 'Ends', short: true },
                    { head: 'Key', short: true },
                    { head: 'Subject', long: true },
                    { head: 'File', long: true },
                    { head: 'SHA-256', long: true },
                  ],
                  sorted.map(entry => [
                    entry.name,
                    daysLeft(entry, nowMs),
                    exact(entry.validToMs),
                    entry.keyType,
                    entry.development ? state('warn', 'development, not for production') : entry.subject,
                    html`<code>${entry.file}</code>`,
                    html`<span class="code">${entry.sha256}</span>`,
                  ]),
                ),
          )}
          <p class="dim">
            Renewed files in the certs directory are taken up by themselves, without a restart. On the command
            line: <code>bin/portcullis cert</code>
          </p>`,
      }
    },
  }
}

function daysLeft({ validToMs }: CertificateState, nowMs: number): Html {
  if (validToMs <= nowMs) return state('bad', 'ended')
  const days = Math.floor((validToMs - nowMs) / DAY_MS)
  const word = days === 0 ? 'ends today' : `${days} day${days === 1 ? '' : 's'}`
  return state(days < 14 ? 'bad' : days < 30 ? 'warn' : 'good', word)
}
