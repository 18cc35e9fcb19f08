// Changes of the policy through the dashboard: a candidate becomes a draft, the draft a plan, and what was planned comes into force.
import type { PageSources, PlanJob, PolicyChange } from './admin/dashboard/pages/sources.ts'
import type { ReloadOptions, ReloadResult } from './admin/reload-result.ts'
import type { Desk } from './desk.ts'
import { guardOver } from './guard-span.ts'
import { messageOf } from './own-events.ts'
import { versionFiles } from './plan/history.ts'
import { draftFiles, makeDraft, putInForce, type DraftFile, type PolicyDraft } from './policy-change.ts'
import type { Snapshot } from './policy/snapshot.ts'

/** What changes need. */
export type PlanningOptions = {
  readonly desk: Desk
  readonly snapshot: () => Snapshot
  readonly reload: (options: ReloadOptions) => Promise<ReloadResult>
  readonly clock: () => number
}

/** Plans for pages, and the end of what stands behind them. */
export type Planning = PageSources['plan'] & { readonly close: () => void }

/** Later, too much has happened that the plan does not know. */
const FRESH_MS = 3_600_000
/** Largest file that is compared line by line. */
const MAX_COMPARED = 512 * 1024

/** Makes it; nothing is planned yet. */
export function createPlanning({ desk, snapshot, reload, clock }: PlanningOptions): Planning {
  let job: Omit<PlanJob, 'isOpen'> | null = null
  let draft: PolicyDraft | null = null
  let lastId = 0
  /** One change after the other: two writers would each undo what the other wrote. */
  let changing: Promise<unknown> = Promise.resolve()

  const drop = (): void => {
    draft?.remove()
    draft = null
  }
  const update = (id: number, more: Partial<PlanJob>): void => {
    if (job?.id === id) job = { ...job, ...more }
  }
  const run = async (id: number, directory: string, label: string): Promise<void> => {
    const outcome = await desk.plan(directory, label, progress => update(id, { progress }))
    update(id, { outcome, endedMs: clock() })
  }
  const isFresh = ({ endedMs }: Pick<PlanJob, 'endedMs'>): boolean =>
    endedMs !== null && clock() - endedMs <= FRESH_MS

  const apply = async (id: number, agreement: Parameters<Planning['apply']>[1]): Promise<PolicyChange> => {
    const { outcome } = job ?? {}
    if (job?.id !== id || draft === null || outcome?.kind !== 'done' || !isFresh(job))
      return refused(
        'There is no such plan any more: another one was made since, or it is too old. Make it again.',
      )
    const lost = outcome.replay?.lostAgents ?? 0
    if (lost > agreement.acceptedLoss)
      return refused(`${lost} sources with active agents would be lost, and that was not agreed to.`)
    const { who, why, guardMs } = agreement
    const guard = guardMs === null ? null : guardOver(guardMs)
    if (guardMs !== null && guard === null) return refused('The guard cannot watch for that time.')
    const result = await putInForce(draft, { who, why, ...(guard === null ? {} : { guard }) }, reload)
    desk.forget()
    if (result === undefined || !result.ok) return { ok: false, problems: result?.problems ?? [] }
    drop()
    const { version, changes, guarded } = result
    return { ok: true, version, changes, guarded }
  }

  return {
    start: (candidate, who) => {
      if (job !== null && job.endedMs === null) return false
      drop()
      const { policy, state } = snapshot().directories
      const { kind } = candidate
      const id = ++lastId
      job = {
        id,
        who,
        kind,
        subject: subjectOf(candidate),
        startedMs: clock(),
        progress: '',
        endedMs: null,
        outcome: null,
        files: [],
        meaning: kind === 'patch' ? candidate.meaning : [],
        reason: kind === 'patch' ? candidate.reason : '',
      }
      try {
        draft = makeDraft(
          policy,
          kind === 'version'
            ? { directory: versionFiles(state, candidate.number) }
            : kind === 'patch'
              ? { patch: candidate.yaml }
              : candidate,
        )
        update(id, { files: draftFiles(draft).map(comparable) })
        void run(id, draft.directory, job.subject)
      } catch (cause) {
        update(id, { outcome: { kind: 'failed', problem: messageOf(cause) }, endedMs: clock() })
      }
      return true
    },
    state: () =>
      job === null
        ? null
        : { ...job, isOpen: draft !== null && job.outcome?.kind === 'done' && isFresh(job) },
    stop: desk.stopPlan,
    apply: (id, agreement) => {
      const done = changing.then(() => apply(id, agreement))
      changing = done.catch(() => undefined)
      return done
    },
    close: drop,
  }
}

function refused(problem: string): PolicyChange {
  return { ok: false, problems: [problem] }
}

function subjectOf(candidate: Parameters<Planning['start']>[0]): string {
  switch (candidate.kind) {
    case 'directory':
      return candidate.directory
    case 'text':
      return 'pasted text'
    case 'version':
      return `version ${candidate.number}`
    case 'patch':
      return candidate.subject
  }
}

function comparable({ name, before, after }: DraftFile): DraftFile {
  const isLarge = [before, after].some(text => text !== null && text.length > MAX_COMPARED)
  if (!isLarge) return { name, before, after }
  const say = (text: string | null): string | null =>
    text === null ? null : `(a file of ${text.length} characters, not compared line by line)`
  return { name, before: say(before), after: say(after) }
}
