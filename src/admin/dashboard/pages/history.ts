// Policies that were in force: who, when, why and what changed; the lines that changed; and the way back.
import { counted, emptyState, exact, facts, panel, table } from '../components.ts'
import { html, type Html } from '../html.ts'
import { hasRole } from '../layout.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import { fileDiff } from './file-diff.ts'
import type { ChangedFile, PageSources, PastPolicy } from './sources.ts'
import { startPlan } from './plan.ts'

const SHOWN_CHANGES = 6

/** Pages of the history. The policy belongs to whoever runs the gate: operators of single sites do not see it. */
export function historyRoutes(sources: PageSources): readonly PageRoute[] {
  return [
    {
      method: 'GET',
      path: '/history',
      role: 'viewer',
      reach: 'gate',
      navigation: { group: 'Gate', label: 'Policy history' },
      run: async () => ({
        kind: 'page',
        title: 'Policy history',
        body: historyView(await sources.history.list()),
      }),
    },
    {
      method: 'GET',
      path: '/history/:number',
      role: 'viewer',
      reach: 'gate',
      run: async ({ params, view, csrf }) => {
        const versions = await sources.history.list()
        const version = versions.find(entry => String(entry.number) === params['number'])
        if (version === undefined) return noSuchVersion()
        const isCurrent = version.number === versions[0]?.number
        return {
          kind: 'page',
          title: `Version ${version.number}`,
          body: versionView({
            version,
            files: await sources.history.files(version.number),
            isCurrent,
            csrf: !isCurrent && hasRole(view.operator, 'admin') ? csrf : null,
          }),
        }
      },
    },
    {
      method: 'POST',
      path: '/history/:number/rollback',
      role: 'admin',
      reach: 'gate',
      action: 'plan the way back to an older policy',
      run: request => rollback(request, sources),
    },
  ]
}

async function rollback({ params, view }: PageRequest, sources: PageSources): Promise<PageAnswer> {
  const versions = await sources.history.list()
  const version = versions.find(entry => String(entry.number) === params['number'])
  if (version === undefined) return noSuchVersion()
  const { number } = version
  return startPlan({ kind: 'version', number }, view.operator.name, `version ${number}`, sources)
}

function noSuchVersion(): PageAnswer {
  return {
    kind: 'page',
    title: 'No such version',
    status: 404,
    body: emptyState('No such version is kept.', html`See <a href="/history">the history</a>.`),
  }
}

/** The list. */
export function historyView(versions: readonly PastPolicy[]): Html {
  if (versions.length === 0) return emptyState('No policy has been in force yet.')
  return table(
    'Policies that were in force, the newest first',
    [
      { head: 'Version', short: true },
      { head: 'In force since', short: true },
      { head: 'Who', short: true },
      { head: 'Why', long: true },
      { head: 'What changed', long: true },
    ],
    versions.map(version => [
      html`<a href="${link`/history/${version.number}`}">Version ${version.number}</a>`,
      exact(version.atMs),
      version.who,
      version.why === '' ? html`<span class="dim">not said</span>` : version.why,
      changeList(version.changes),
    ]),
  )
}

function changeList(changes: readonly string[]): Html {
  if (changes.length === 0) return html`<span class="dim">nothing that decisions see</span>`
  return html`<ul class="plain">
    ${changes.slice(0, SHOWN_CHANGES).map(change => html`<li>${change}</li>`)}
    ${changes.length > SHOWN_CHANGES ? html`<li class="dim">and ${counted(changes.length - SHOWN_CHANGES, 'more change')}</li>` : null}
  </ul>`
}

/** What the page of a version shows. */
export type VersionData = {
  readonly version: PastPolicy
  readonly files: readonly ChangedFile[]
  readonly isCurrent: boolean
  /** Null: it is in force, or this operator may not go back. */
  readonly csrf: Html | null
}

/** The page of a version. */
export function versionView({ version, files, isCurrent, csrf }: VersionData): Html {
  return html`
    <p>
      <a href="/history">Policy history</a> / version ${version.number}${isCurrent ? ', in force now' : ''}
    </p>
    ${panel(
      'Who, when, why',
      facts([
        ['In force since', exact(version.atMs)],
        ['By', version.who],
        ['Why', version.why === '' ? 'not said' : version.why],
      ]),
    )}
    ${
      version.changes.length === 0
        ? null
        : panel(
            'What changed',
            html`<ul>
              ${version.changes.map(change => html`<li>${change}</li>`)}
            </ul>`,
          )
    }
    ${panel(
      'Lines that changed',
      files.length === 0
        ? emptyState('No file changed from the version before, or it is the first.')
        : html`${files.map(fileDiff)}`,
    )}
    ${
      csrf === null
        ? null
        : panel(
            'Go back to this version',
            html`<form method="post" class="stack" action="${link`/history/${version.number}/rollback`}">
              ${csrf}
              <p>
                First it is worked out who would be lost or let in by version ${version.number}; then you
                decide.
              </p>
              <button>Plan the way back to version ${version.number}</button>
            </form>`,
          )
    }
  `
}
