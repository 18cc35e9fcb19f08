// Policies that were in force: who, when, why and what changed; the lines that changed; and the way back.
import { counted, emptyState, exact, facts, panel, table, textField } from '../components.ts'
import { html, type Html } from '../html.ts'
import { hasRole } from '../layout.ts'
import { link, type PageAnswer, type PageRequest, type PageRoute } from '../page.ts'
import type { ChangedFile, PageSources, PastPolicy } from './sources.ts'
import { textDiff, type DiffLine } from './text-diff.ts'

const MAX_REASON = 300
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u
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
      action: 'put an older policy in force again',
      run: request => rollback(request, sources),
    },
  ]
}

async function rollback({ params, form, view }: PageRequest, sources: PageSources): Promise<PageAnswer> {
  const versions = await sources.history.list()
  const version = versions.find(entry => String(entry.number) === params['number'])
  if (version === undefined) return noSuchVersion()
  const reason = (form.get('reason') ?? '').trim()
  const back = link`/history/${version.number}`
  if (reason === '' || reason.length > MAX_REASON || UNSAFE.test(reason))
    return unchanged(
      [`A reason of 1 to ${MAX_REASON} plain characters is needed; it is kept in the history.`],
      back,
    )
  if (form.get('sure') !== String(version.number))
    return unchanged(['Tick the box: every agent gets the older policy at once.'], back)
  const result = await sources.history.rollback(version.number, view.operator.name, reason)
  if (!result.ok) return unchanged(result.problems, back)
  return {
    kind: 'redirect',
    to: '/history',
    target: `version ${version.number}`,
    notice: `Version ${version.number} is in force again${result.version === null ? '' : `, as version ${result.version}`}.`,
  }
}

function noSuchVersion(): PageAnswer {
  return {
    kind: 'page',
    title: 'No such version',
    status: 404,
    body: emptyState('No such version is kept.', html`See <a href="/history">the history</a>.`),
  }
}

function unchanged(problems: readonly string[], back: string): PageAnswer {
  return {
    kind: 'page',
    title: 'Nothing was changed',
    status: 400,
    body: html`${problems.map(problem => html`<pre class="problem" tabindex="0">${problem}</pre>`)}
      <p><a href="${back}">Back</a></p>`,
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
                The policy files become those of version ${version.number}, and they are put in force at once.
              </p>
              ${textField('Why', 'reason', { required: true, maxLength: MAX_REASON })}
              <label class="check"
                ><input type="checkbox" name="sure" value="${version.number}" required /> Put version
                ${version.number} in force</label
              >
              <button class="danger">Go back to version ${version.number}</button>
            </form>`,
          )
    }
  `
}

const SIGNS: Readonly<Record<DiffLine['kind'], string>> = { same: ' ', added: '+', removed: '-', gap: '' }

function fileDiff({ name, before, after }: ChangedFile): Html {
  const lines = textDiff(before ?? '', after ?? '')
  const what = before === null ? 'new' : after === null ? 'removed' : 'changed'
  return html`<h3>${name} <span class="dim">${what}</span></h3>
    <pre class="diff" tabindex="0" aria-label="Changed lines of ${name}">
${lines.map(line => diffLine(line))}</pre>`
}

function diffLine({ kind, text }: DiffLine): Html {
  const words = kind === 'gap' ? `… ${counted(Number(text), 'unchanged line')}` : `${SIGNS[kind]} ${text}`
  return html`<span class="line ${kind}">${words} </span>`
}
