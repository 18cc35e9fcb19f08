// The pages of customers, rules and policies, put together: where their data comes from and what their forms do.
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PageRoute } from './admin/dashboard/page.ts'
import { addressRoutes } from './admin/dashboard/pages/addresses.ts'
import { exceptionRoutes } from './admin/dashboard/pages/exceptions.ts'
import { falsePositiveRoutes } from './admin/dashboard/pages/false-positive.ts'
import { historyRoutes } from './admin/dashboard/pages/history.ts'
import { planRoutes } from './admin/dashboard/pages/plan.ts'
import { ruleRoutes } from './admin/dashboard/pages/rule.ts'
import { rulesRoutes } from './admin/dashboard/pages/rules.ts'
import { siteFormRoutes } from './admin/dashboard/pages/site-forms.ts'
import { siteOpeningRoutes } from './admin/dashboard/pages/site-openings.ts'
import { siteRoutes } from './admin/dashboard/pages/site.ts'
import { sitesRoutes } from './admin/dashboard/pages/sites.ts'
import type { ChangedFile, PageSources } from './admin/dashboard/pages/sources.ts'
import { worldRoutes } from './admin/dashboard/pages/world.ts'
import type { ReloadOptions, ReloadResult } from './admin/reload-result.ts'
import type { AdminActions } from './admin/routes.ts'
import { ruleText } from './cli/rule-text.ts'
import type { DeskPolicy } from './desk-messages.ts'
import { createDesk } from './desk.ts'
import { createPlanning } from './plan-parts.ts'
import { exceptionForEvent, lastDay } from './exception-request.ts'
import type { StoreReading } from './journal/store-reading.ts'
import { listVersions, versionFiles, type PolicyVersion } from './plan/history.ts'
import type { Snapshot } from './policy/snapshot.ts'

/** What these pages are put together from. */
export type PagesOptions = {
  readonly actions: Pick<AdminActions, 'addEntry' | 'removeEntries' | 'entries' | 'flush'> & {
    readonly reload: (options: ReloadOptions) => Promise<ReloadResult>
  }
  readonly snapshot: () => Snapshot
  /** How the gate names its policy directory. */
  readonly policyLabel: string
  readonly reading: StoreReading
  readonly clock: () => number
}

/** The pages, and the end of what stands behind them. */
export type Pages = { readonly routes: readonly PageRoute[]; readonly close: () => Promise<void> }

/** Puts the pages together. */
export function createPages(options: PagesOptions): Pages {
  const { actions, snapshot, reading, clock } = options
  const desk = createDesk({ policy: () => deskPolicy(snapshot(), options.policyLabel), clock })
  const planning = createPlanning({ desk, snapshot, reload: actions.reload, clock })
  const changed = async <T>(work: Promise<T>): Promise<T> => {
    const result = await work
    desk.forget()
    return result
  }
  const sources: PageSources = {
    ask: reading.ask,
    flush: actions.flush,
    snapshot,
    overlay: actions.entries,
    addEntry: entry => changed(actions.addEntry(entry)),
    removeEntries: (kind, range, owner) => changed(actions.removeEntries(kind, range, owner)),
    diagnose: desk.diagnose,
    ruleText: rule => Promise.resolve(ruleText(rule, snapshot())),
    exceptionFor: (event, { spanMs, ...wish }) => {
      const nowMs = clock()
      return exceptionForEvent(event, snapshot(), { ...wish, expires: lastDay(spanMs, nowMs), nowMs })
    },
    exceptions: desk.exceptions,
    plan: planning,
    history: {
      list: () => Promise.resolve(listVersions(snapshot().directories.state).toReversed()),
      files: number => changedFiles(snapshot().directories.state, number),
    },
  }
  return {
    routes: [
      ...worldRoutes(sources),
      ...sitesRoutes(sources),
      ...siteRoutes(sources),
      ...siteFormRoutes(sources),
      ...siteOpeningRoutes(sources),
      ...addressRoutes(sources),
      ...rulesRoutes(sources),
      ...ruleRoutes(sources),
      ...falsePositiveRoutes(sources),
      ...exceptionRoutes(sources),
      ...planRoutes(sources),
      ...historyRoutes(sources),
    ],
    close: async () => {
      await desk.close()
      planning.close()
    },
  }
}

/** The policy in force as the desk can load it: from the history, because the files may have been changed since. */
function deskPolicy({ id, directories }: Snapshot, label: string): DeskPolicy {
  const last = listVersions(directories.state).findLast(version => version.id === id)
  return {
    directory: last === undefined ? directories.policy : versionFiles(directories.state, last.number),
    meantFor: directories.policy,
    label,
    stateDir: directories.state,
    id,
    commandPolicy: label === 'policies' ? '' : directories.policy,
  }
}

/** Largest file that is compared line by line. */
const MAX_COMPARED = 512 * 1024

/** Files that differ between a version and the one before it. */
async function changedFiles(stateDir: string, number: number): Promise<readonly ChangedFile[]> {
  const versions = listVersions(stateDir)
  const at = versions.findIndex(version => version.number === number)
  const version = versions[at]
  const previous = versions[at - 1]
  if (version === undefined || previous === undefined) return []
  const names = [...new Set([...previous.files, ...version.files])].toSorted()
  const files: ChangedFile[] = []
  for (const name of names) {
    const [before, after] = await Promise.all([
      textOf(stateDir, previous, name),
      textOf(stateDir, version, name),
    ])
    if (before !== after) files.push({ name, before, after })
  }
  return files
}

async function textOf(stateDir: string, version: PolicyVersion, name: string): Promise<string | null> {
  if (!version.files.includes(name)) return null
  const file = join(versionFiles(stateDir, version.number), name)
  if (!existsSync(file)) return null
  const text = await readFile(file, 'utf8')
  return text.length > MAX_COMPARED
    ? `(a file of ${text.length} characters, not compared line by line)`
    : text
}
